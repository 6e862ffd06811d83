"""Scores of report files of any system: CSV, JSON lines, or the JSON of pycocoevalcap and ReXrank."""
