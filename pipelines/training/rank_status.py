"""What each rank of a training run is doing, written to the run's folder for the driver, and what a stop means.

Ranks share nothing else with the driver while a step lasts: a rank that waits for another one cannot report.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import count
from threading import Event

from trrg_core.errors import DataError, StorageError
from trrg_core.storage.background import in_background
from trrg_core.storage.store import Store

STARTING, WAITING, STEP = "starting", "waiting for a batch", "training step"
CHECKPOINT, SAVING = "saving a checkpoint", "saving the model"
WRITE_EVERY_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Phase:
    """What a rank does: `number` counts the phases since its start, `step` the finished steps; `beat` the writings.

    `world` is the number of ranks of its group, which may be smaller than configured; 0 where it is not known.
    """

    name: str = STARTING
    step: int = 0
    number: int = 0
    beat: int = 0
    world: int = 0


class RankStatus:
    """The present phase of this rank."""

    def __init__(self) -> None:
        self.phase = Phase()

    def enter(self, name: str, step: int) -> None:
        """Begin another phase after `step` steps."""
        self.phase = Phase(name=name, step=step, number=self.phase.number + 1)


@contextmanager
def written_status(status: RankStatus, store: Store, folder: str, rank: int, world: int) -> Iterator[None]:
    """Write the status of a rank, of a group of `world`, every few seconds while the block lasts."""

    def write(stop: Event) -> None:
        for beat in count(1):
            values = {**asdict(status.phase), "beat": beat, "world": world}
            with suppress(StorageError):  # the next one may succeed; a rank counts as silent only after minutes
                store.write_bytes(f"{folder}/{rank}.json", json.dumps(values).encode())
            if stop.wait(WRITE_EVERY_S):
                return

    with in_background(write, name="rank status"):
        yield


def read_phases(store: Store, folder: str, num_ranks: int) -> dict[int, Phase]:
    """The phases of the ranks that wrote one."""
    phases = {}
    for rank in range(num_ranks):
        try:
            phases[rank] = Phase(**json.loads(store.read_bytes(f"{folder}/{rank}.json")))
        except (DataError, StorageError, ValueError):
            continue
    return phases


def forget_ranks(store: Store, folder: str, ranks: Sequence[int]) -> None:
    """Remove the statuses of ranks that a smaller group does not have."""
    for rank in ranks:
        store.delete(f"{folder}/{rank}.json")


def steps_of(phases: Mapping[int, Phase]) -> tuple[tuple[int, int, int], ...]:
    """What changes when a rank gets on: (rank, steps, phases); the beat of its status is left out."""
    return tuple((rank, phase.step, phase.number) for rank, phase in sorted(phases.items()))


def name_cause(before: Mapping[int, Phase], now: Mapping[int, Phase], num_ranks: int) -> str:
    """Why the ranks do not get on, in words.

    Args:
        before: the phases some time ago, longer than the interval at which ranks write.
        now: the present phases.
        num_ranks: number of ranks of the run, unless the ranks say that their group is smaller.
    """
    num_ranks = min((phase.world for phase in now.values() if phase.world), default=num_ranks)
    missing = [rank for rank in range(num_ranks) if rank not in now]
    if missing:
        return f"stuck start: {_ranks(missing)} of {num_ranks} never began; their process found no room or no model"
    silent = [rank for rank in now if rank in before and before[rank].beat == now[rank].beat]
    if silent:
        return f"lost process: {_ranks(silent)} no longer reports; its node or process is gone or frozen"
    starved = [rank for rank, phase in now.items() if phase.name == WAITING]
    if starved:
        return (
            f"starved loader: {_ranks(starved)} waits for the batch after step {_steps(now, starved)}; the store is "
            "slow or the processes that decode are stuck (engine.feed_workers)"
        )
    fewest = min(phase.number for phase in now.values())
    behind = [rank for rank, phase in now.items() if phase.number == fewest]
    step = _steps(now, behind)
    if len(behind) < len(now):
        return f"stuck rank: {_ranks(behind)} is behind the others, in {now[behind[0]].name}, after step {step}"
    return f"stuck ranks: all are in {now[behind[0]].name}, after step {step}"


def _ranks(ranks: Sequence[int]) -> str:
    return f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}"


def _steps(phases: Mapping[int, Phase], ranks: Sequence[int]) -> int:
    return min(phases[rank].step for rank in ranks)
