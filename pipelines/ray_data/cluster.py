"""The connection to Ray, and the only `ray.init`: to a cluster by its address, else to a local one."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import ray
import ray.data
from ray._private import ray_constants

from pipelines.ray_data.session_folder import make_private, session_folder
from pipelines.ray_data.watchdog import set_stall_limit
from pipelines.records.json_log import set_up_logging
from trrg_core.config.settings import RayConfig
from trrg_core.errors import StorageError

logger = logging.getLogger(__name__)

# one thread per CPU of a worker
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONWARNINGS": "ignore",
    "RAY_DATA_LOG_LEVEL": "ERROR",
    # memory in pages of 2 MiB where Linux gives them: in plain processes a training thread took 6 to 11 % less time; of
    # workers of Ray no gain was shown
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
# on a cluster of one machine no node can be preempted during a run
LOCAL_ENVIRONMENT = {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}
PRIVATE_UMASK = 0o077

# these log, every second or every batch, what is of no use to a person who watches a run
QUIET = (
    "ray._private.authentication",
    "ray._private.authentication.authentication_token_setup",
    "ray.data",
    "ray.train",
    "ray.train.v2._internal.execution.controller.placement_group_cleaner",
    "DeepSpeed",
)


def connect(config: RayConfig) -> None:
    """Connect this process to Ray once; later calls find the connection and do nothing.

    Raises:
        StorageError: if the cluster does not answer, or a local one does not start.
    """
    if ray.is_initialized():
        return
    quieten()
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")
    environment = {
        "env_vars": worker_environment(config),
        "worker_process_setup_hook": "pipelines.ray_data.cluster.set_up_worker",
    }
    try:
        with _this_machine_only() if not config.address else nullcontext():
            ray.init(**_where(config), runtime_env=environment, logging_level=logging.WARNING)
    except Exception as error:  # a node that does not start in time is a bare Exception
        where = f"the cluster at {config.address}" if config.address else "a local cluster"
        raise StorageError(f"Ray: {where} did not answer; look at its logs, or run again: {error}") from error
    set_stall_limit(config.stall_minutes)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # Ray's count blocks, ours count studies
    context.raise_original_map_exception = True  # by its class a caller knows whether to try again
    logger.info("Ray: %s", f"cluster at {config.address}" if config.address else f"local, {config.local_cpus} CPUs")


def _where(config: RayConfig) -> dict[str, Any]:
    if config.address:
        return {"address": config.address}
    return {
        "address": "local",  # otherwise Ray joins a cluster that another user started on this machine
        "num_cpus": config.local_cpus,
        "object_store_memory": config.object_store_mb * 2**20,
        "include_dashboard": False,
        "_temp_dir": session_folder(),
    }


@contextmanager
def _this_machine_only() -> Iterator[None]:
    """Within the block, Ray starts processes that listen on the loopback interface and write files of this user only.

    Ray takes loopback as the address of a node only where it does not support clusters; it says so to its processes by
    this variable. Its token is a file that it creates with the modes of the umask.
    """
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False  # read from the variable when Ray was imported
    before = os.umask(PRIVATE_UMASK)
    try:
        yield
    finally:
        os.umask(before)
        make_private(Path.home() / ".ray" / "auth_token")


def worker_environment(config: RayConfig) -> dict[str, str]:
    """Environment variables of worker processes; settings of the allocator in the environment of this one go first."""
    is_local = not (config.address or config.jobs_address)
    own = {name: os.environ[name] for name in ("GLIBC_TUNABLES",) if name in os.environ}
    return {**WORKER_ENVIRONMENT, **(LOCAL_ENVIRONMENT if is_local else {}), **own}


def set_up_worker() -> None:
    """Set up the logging of a worker process: progress of our own packages, errors of the libraries."""
    set_up_logging(("pipelines", "trrg_core"))
    quieten()


def quieten() -> None:
    """Let the libraries in QUIET log errors only; they set their own levels when first imported."""
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    # Ray Train names one logger by its file
    for name in [name for name in logging.root.manager.loggerDict if "/ray/train/" in name]:
        logging.getLogger(name).setLevel(logging.ERROR)
