"""A trace of a few training steps by torch's profiler, for Perfetto (https://ui.perfetto.dev) or chrome://tracing."""

import gzip
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from trrg_core.storage.store import Store

TRACE = "trace.json.gz"
_FIRST_STEP = 2  # those before it allocate memory and choose kernels


class StepProfile:
    """Profiles `num_steps` steps of this process and writes the trace to `path` of the store; does nothing for 0.

    The trace holds names and times of operations, no data.
    """

    def __init__(self, store: Store, path: str, *, num_steps: int) -> None:
        self.store, self.path, self.num_steps = store, path, num_steps
        self._steps_seen = 0
        self._profile: Any = None

    def next_step(self) -> None:
        """Call before each step."""
        if self.num_steps and self._steps_seen == _FIRST_STEP:
            on_gpu = [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
            self._profile = profile(activities=[ProfilerActivity.CPU, *on_gpu])
            self._profile.start()
        if self._steps_seen == _FIRST_STEP + self.num_steps:
            self.close()
        self._steps_seen += 1

    def close(self) -> None:
        """Write the trace, if one was begun and is not yet written."""
        if self._profile is None:
            return
        self._profile.stop()
        with tempfile.TemporaryDirectory() as local:
            file = Path(local) / "trace.json"
            self._profile.export_chrome_trace(str(file))
            self.store.write_bytes(self.path, gzip.compress(file.read_bytes(), 1))
        self._profile = None
