"""Rules of the metrics as data: the clinical significance of findings."""
