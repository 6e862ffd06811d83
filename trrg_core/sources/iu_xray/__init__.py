"""IU-Xray (Open-i): three published forms of the same collection, read into one `Listing`."""

from trrg_core.sources.iu_xray.forms import list_studies

__all__ = ["list_studies"]
