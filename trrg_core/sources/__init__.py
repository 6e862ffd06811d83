"""Readers of report and image collections; each yields `Study`. `open_source` is the door to all."""

from trrg_core.sources.source import Source, open_source, read_report

__all__ = ["Source", "open_source", "read_report"]
