"""Label statistics: the label table of a version, its distribution, and drift between versions."""
