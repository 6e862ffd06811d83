"""Checkpoints of a running training: written while training goes on, and fetched by all ranks together.

`CheckpointWriter.save` takes a copy of the state in CPU memory and returns; a thread per rank then writes, hashes and
uploads the files. Once all ranks have uploaded theirs, the manifest makes them a checkpoint. After a kill in between
there is no manifest, and the checkpoint before it is the newest.
"""

import logging
import tempfile
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import torch.distributed as dist

from pipelines.training.agreement import agreed
from trrg_core.errors import TrainingError
from trrg_core.runs.checkpoints import (
    Checkpoint,
    fetch_checkpoint,
    finish_checkpoint,
    list_checkpoints,
    remove_old,
    upload_files,
)
from trrg_core.signing.manifest_key import ManifestKey
from trrg_core.storage.local_disk import temporary_room
from trrg_core.storage.store import Store
from trrg_core.storage.withdrawal_lock import unless_withdrawn

logger = logging.getLogger(__name__)


class StateCopy(Protocol):
    """A rank's share of the training state, in memory that training no longer changes."""

    def write(self, folder: Path) -> None: ...


class CheckpointWriter:
    """Writes the checkpoints of a run. All methods are collective: all ranks must call them together.

    Args:
        store: where to write.
        folder: the folder of all checkpoints of the run.
        keep: how many of the newest remain.
        key: seals the manifests; None writes them without an HMAC.
        withdrawals: the `withdrawal_state` of the store when the run began; none is completed after one.
        timeout_s: time limit for the last rank's upload after the first rank's.
    """

    def __init__(
        self,
        store: Store,
        folder: str,
        *,
        keep: int,
        key: ManifestKey | None = None,
        withdrawals: str = "",
        timeout_s: float = 1800,
    ) -> None:
        self.store, self.folder, self.keep, self._key, self._withdrawals = store, folder, keep, key, withdrawals
        # the threads communicate beside the training step, which has the default group
        self._group = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout_s))
        # its thread is joined when Python exits, also by sys.exit on SIGTERM: an upload that began is completed
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None

    def save(self, state: StateCopy, *, step: int, files: Mapping[str, bytes], best: int = 0) -> None:
        """Start to write a checkpoint after `step` steps; waits for the one before it.

        Args:
            state: this rank's copy.
            step: optimizer steps done.
            files: further files, by name; those of rank 0 are written.
            best: the step of a checkpoint that is kept beside the newest ones; 0 for none.

        Raises:
            StorageError: on every rank, if the checkpoint before it could not be written on any, for lack of space or
                another fault of the store.
            TrainingError: likewise, for any other reason.
        """
        self.wait()
        own = dict(files) if dist.get_rank() == 0 else {}
        self._pending = self._thread.submit(self._write, state, step, own, best)

    def wait(self) -> None:
        """Wait until the last checkpoint is complete. Raises as `save`."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def close(self) -> None:
        """Wait, then end the thread. Raises as `save`."""
        try:
            self.wait()
        finally:
            self._thread.shutdown()

    def _write(self, state: StateCopy, step: int, files: Mapping[str, bytes], best: int) -> None:
        path = f"{self.folder}/step-{step:07d}"
        digests: dict[str, str] = {}
        with (
            agreed(f"checkpoint {path} cannot be written", self._group),
            temporary_room(),
            tempfile.TemporaryDirectory() as local,
        ):
            state.write(Path(local))
            for name, data in files.items():
                (Path(local) / name).write_bytes(data)
            digests = upload_files(self.store, Path(local), path)
        gathered: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(gathered, digests, group=self._group)
        with agreed(f"checkpoint {path} cannot be completed", self._group):
            if dist.get_rank() == 0:
                notes = {"world_size": dist.get_world_size()}
                all_files = {name: digest for of_rank in gathered for name, digest in of_rank.items()}
                with unless_withdrawn(self.store, self._withdrawals, work=path):
                    finish_checkpoint(self.store, path, step=step, files=all_files, notes=notes, key=self._key)
                remove_old(self.store, self.folder, self.keep, self._key, best=best)


def fetch_on_all_ranks(
    store: Store, folder: str, local: Path, *, key: ManifestKey | None = None, step: int = 0
) -> Checkpoint | None:
    """Download the newest intact checkpoint into `local`; None when there is none. Collective.

    Rank 0 says which checkpoint. Each rank fetches the common files and its part of the shares: those whose position
    among all shares, modulo the number of ranks, is its own. If a file is damaged or missing on any rank, all try the
    checkpoint before it, as where a manifest does not have the HMAC of `key`. With `step` only that one counts.

    Raises:
        StorageError: on every rank at once, if the store fails on any.
        TrainingError: likewise, if no checkpoint has the HMAC of `key`.
    """
    listed: list[Any] = [None]
    with agreed("the checkpoints cannot be listed"):
        if dist.get_rank() == 0:
            listed = [list_checkpoints(store, folder, key)]
    dist.broadcast_object_list(listed, src=0)
    checkpoints: list[Checkpoint] = [one for one in listed[0] if step in (0, one.step)]
    for checkpoint in checkpoints:
        damage: list[Any] = [None] * dist.get_world_size()
        found = ""
        with agreed(f"{checkpoint.path} cannot be fetched"), temporary_room():
            try:
                fetch_checkpoint(store, checkpoint, local, own_files(checkpoint))
            except TrainingError as error:
                found = str(error)
        dist.all_gather_object(damage, found)
        if not any(damage):
            return checkpoint
        for path in local.iterdir():
            path.unlink()
        if dist.get_rank() == 0:
            text = next(one for one in damage if one)
            logger.warning("checkpoint skipped, the previous one is tried: %s", text)
    return None


def own_files(checkpoint: Checkpoint) -> list[str]:
    """The files that this rank fetches: all but other ranks' shares."""
    shares = sorted(name for name in checkpoint.files if Path(name).name.startswith("state-"))
    mine = shares[dist.get_rank() :: dist.get_world_size()]
    return [name for name in checkpoint.files if name not in shares or name in mine]
