"""Settings: the pydantic sections, presets, and how values become a checked `TrrgConfig`."""
