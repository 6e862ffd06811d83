"""Label statistics: the label table of a version, its distribution, and comparison and drift between versions."""
