"""What the training loop is given: a stage (how to build, collate, save and score) and a task (one run of it)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import nn

from pipelines.records.progress import PROGRESS_FILE
from trrg_core.config.settings import OptimizerConfig, TrrgConfig
from trrg_core.runs.results import run_path
from trrg_core.signing.manifest_key import ManifestKey, read_manifest_key
from trrg_core.storage.store import Store
from trrg_core.tables.table_ref import TableRef

UNSCORED = "unscored"  # folder of a run for what `save` leaves to `score`; deleted once there is a result


@dataclass(frozen=True, kw_only=True)
class TrainingTask:
    """One training run: its configuration, its inputs, and the store that it reads from and writes to.

    It runs in this process alone, without Ray, when `engine.local` is set. `withdrawals` is the `withdrawal_state` of
    the store from before its inputs were read: a run that was deleted in a withdrawal does not write itself again.
    """

    run_id: str
    config: TrrgConfig
    store: Store
    inputs: Mapping[str, str]
    code_version: str
    withdrawals: str

    @property
    def local(self) -> bool:
        """Whether the run trains and scores in this process, without Ray."""
        return self.config.engine.local

    @property
    def manifest_key(self) -> ManifestKey | None:
        """The key of the HMACs of its manifests, on the machine that asks; None where none is configured."""
        return read_manifest_key(self.config.engine.manifest_key_file, self.store.uri)

    @property
    def path(self) -> str:
        """The run's folder in the store."""
        return run_path(self.run_id)

    @property
    def progress(self) -> str:
        """The file to which rank 0 writes the run's progress."""
        return f"{self.path}/{PROGRESS_FILE}"

    @property
    def rank_statuses(self) -> str:
        """The folder to which each rank writes what it is doing."""
        return f"{self.path}/ranks"

    @property
    def shards(self) -> TableRef:
        """The table version to train on."""
        return TableRef.parse(self.inputs["shards"])


class Schedule(Protocol):
    """How long and in what steps a stage trains.

    A step has `num_micro_batches` of `micro_batch_size` studies each, over all workers together.
    """

    @property
    def micro_batch_size(self) -> int: ...
    @property
    def num_micro_batches(self) -> int: ...
    @property
    def epochs(self) -> float: ...
    @property
    def optimizer(self) -> OptimizerConfig: ...


class DeviceBatch(Protocol):
    """A batch that can be moved to a device, from page-locked memory too."""

    def to(self, device: torch.device) -> Self: ...
    def pin_memory(self) -> Self: ...


class Collate(Protocol):
    """Makes a batch of shard rows; all its random draws depend on the seed."""

    def __call__(self, rows: Sequence[Mapping[str, Any]], *, seed: int) -> DeviceBatch: ...


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A training stage, as top-level functions that Ray can send to workers.

    Args:
        name: the job's name, the first part of its run ids.
        schedule: batch size, epochs and optimizer: the stage's section of the configuration.
        build: the model to train, on CPU, from the task; called by every rank after seeding.
        collate: from the task, the function that makes a batch of rows and a `seed`; that function is sent to other
            processes, so it must hold all it needs and draw no random numbers but those of the seed.
        save: on rank 0 only, with the trained weights, while the other ranks wait: writes the model under
            `runs/<id>/` and returns plain numbers for the result.
        score: in the driver, once the workers have ended: measures the saved model, completes it for the next stage,
            and returns plain numbers for the result. Called again when the driver died before the result was written.
        joins_micro_batches: whether the loss compares the micro-batches of a step with each other, so that the model
            receives those of a rank together; their number must then be a multiple of the number of workers.
        collate_validation: as `collate`, for the loss on `validate`; that of training if None.
        page: the HTML file in the run's folder that `score` writes; empty if it writes none.
    """

    name: str
    schedule: Schedule
    build: Callable[[TrainingTask], nn.Module]
    collate: Callable[[TrainingTask], Collate]
    save: Callable[[TrainingTask, Mapping[str, torch.Tensor]], Mapping[str, float]]
    score: Callable[[TrainingTask], Mapping[str, float]]
    joins_micro_batches: bool = False
    collate_validation: Callable[[TrainingTask], Collate] | None = None
    page: str = ""
