"""When, after what, and try again: Prefect flows and the `trrg` command line."""
