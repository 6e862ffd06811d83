"""Settings: the pydantic sections, presets, and the validation of values into a `TrrgConfig`."""
