"""Readers of report and image collections; each yields `Study`. `open_source` opens any of them."""

from trrg_core.sources.source import Source, open_source, read_report

__all__ = ["Source", "open_source", "read_report"]
