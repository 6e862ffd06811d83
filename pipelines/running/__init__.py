"""The catalog of jobs, and how a job is run: in this process or as a Ray Job."""
