"""A line of the table of the parser benchmark, and the peers that are run in environments of their own."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("TRRG_REAL_DATA", "../shared/data"))
PEERS = Path(".bench")
TOOLS = {"spacy-tokenizer": "negspacy", "negspacy": "negspacy", "medspacy": "medspacy", "medspacy-default": "medspacy"}
ROUNDS = 3


@dataclass(frozen=True)
class Row:
    """One line of the table. `ours` must reach `floor`, or with `is_most` not exceed it; None for no requirement."""

    name: str
    ours: float
    floor: float | None = None
    peers: str = ""
    is_most: bool = False

    @property
    def is_below(self) -> bool:
        """Whether the floor is missed."""
        return self.floor is not None and (self.ours > self.floor if self.is_most else self.ours < self.floor)


def run_peer(tool: str, **work: object) -> dict[str, Any] | None:
    """The result of a peer, run in its own environment; None if it is not installed."""
    python = PEERS / TOOLS[tool] / "bin" / "python"
    if not python.is_file():
        return None
    script = Path(__file__).with_name("peer_negation.py")
    process = subprocess.run(
        [str(python), "-W", "ignore", str(script), tool],
        input=json.dumps(work),
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(process.stdout[process.stdout.index("{") :])
    return result


def text_of(values: dict[str, float]) -> str:
    """Peers and their values in one line."""
    return ", ".join(f"{tool} {value:.4g}" for tool, value in values.items())
