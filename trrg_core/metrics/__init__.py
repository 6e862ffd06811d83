"""Scores: language, clinical, truth, and the floors every table shows."""
