"""What a job leaves behind: fingerprint, code version, commit, result, progress."""
