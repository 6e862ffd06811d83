"""The record of a job: fingerprint, code version, commit, result, progress."""
