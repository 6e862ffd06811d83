"""Where the licensed data for tests marked `real_data` lies."""

import os
from pathlib import Path

REAL_DATA = Path(os.environ.get("TRRG_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
