"""Running a job: the catalog of jobs, in this process or as a Ray Job."""
