"""Versioned Delta tables: row codecs, commits, reading, look-up, comparison and garbage collection."""
