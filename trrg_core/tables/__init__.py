"""Versioned Delta tables: commit, read, look up, compare, and what may be removed."""
