"""Readers of report and image collections; each yields `Study`."""
