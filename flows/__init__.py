"""Prefect flows, which order and retry the jobs, and the `trrg` command line."""
