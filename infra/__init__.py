"""What stands around the packages: benches, set-up scripts, and files for Prefect, Ray, DeepSpeed and monitoring."""
