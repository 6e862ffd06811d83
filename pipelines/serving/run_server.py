"""Start Ray Serve on this machine or a cluster, with the application of `deployments`, and stop it again."""

import ipaddress
import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pipelines.serving.limits import ServingLimits
from pipelines.serving.model_choice import ModelChoice
from trrg_core.config.settings import RayConfig
from trrg_core.errors import ConfigError, StorageError

_QUIET = {"log_level": "WARNING", "enable_access_log": False}
# read when Ray Serve is imported, here and in its processes. It kills a proxy that does not start within 5 s, as on a
# busy machine, and then its start fails.
_ENVIRONMENT = {
    "RAY_SERVE_LOG_TO_STDERR": "0",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "60",
}
_MARGIN_S = 10.0
_OWN_ERROR = re.compile(r"trrg_core\.errors\.ConfigError: (.+)")  # of a replica, in the traceback that Ray passes on
_APPLICATION = "trrg"


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Where to listen, and how many replicas hold the model."""

    host: str = "127.0.0.1"
    port: int = 8000
    num_replicas: int = 1
    batch_size: int = 8
    poll_s: float = 15.0


def check_address(settings: ServerSettings, limits: ServingLimits) -> None:
    """Check that the address is free, and that a server for other machines has a token.

    Raises:
        ConfigError: if it is not, or has none.
    """
    if not (_is_loopback(settings.host) or limits.token_sha256):
        raise ConfigError(f"host {settings.host}: a server that other machines reach needs a token (TRRG_SERVE_TOKEN)")
    try:
        with socket.create_server((settings.host, settings.port)):
            pass
    except (OSError, ValueError, TypeError) as error:  # the last two for a name that no host can have
        reason = getattr(error, "strerror", "") or "not a name of a host"
        raise ConfigError(f"{settings.host!r}:{settings.port} cannot be listened on: {reason}") from error


@contextmanager
def running_server(
    choice: ModelChoice, settings: ServerSettings, limits: ServingLimits, ray_config: RayConfig
) -> Iterator[str]:
    """The address of a server that runs within the block.

    Raises:
        ConfigError: if the model cannot be loaded.
        StorageError: if Ray does not start, or the application does not become healthy.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray
    import torch
    from ray import serve

    from pipelines.ray_data.cluster import connect
    from pipelines.serving.deployments import BatchSettings, build_application

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    connect(ray_config)
    batches = BatchSettings(max_studies=settings.batch_size, poll_s=settings.poll_s)
    application = build_application(
        choice, limits, batches, num_replicas=settings.num_replicas, use_gpu=torch.cuda.is_available()
    )
    timeout_s = limits.body_timeout_s + limits.report_timeout_s + _MARGIN_S
    try:
        try:
            serve.start(
                proxy_location="HeadOnly",
                http_options={"host": settings.host, "port": settings.port, "request_timeout_s": timeout_s},
                logging_config=_QUIET,
            )
            serve.run(application, name=_APPLICATION, route_prefix="/", logging_config=_QUIET)
        except (RuntimeError, ray.exceptions.RayError) as error:
            if own := own_error(_messages(serve.status())):
                raise ConfigError(own) from error
            reason = str(error).strip().partition("\n")[0]
            raise StorageError(f"Ray Serve did not start; run again, or look at its logs: {reason}") from error
        try:
            yield f"http://{settings.host}:{settings.port}"
        finally:
            # the application only: a cluster may run others, and a local Ray ends with this process
            serve.delete(_APPLICATION)
    finally:
        ray.shutdown()


def own_error(messages: str) -> str:
    """The message of a ConfigError of ours in what Ray Serve says of a replica, a traceback among others; or empty."""
    return next((found.strip() for found in reversed(_OWN_ERROR.findall(messages))), "")


def _messages(status: Any) -> str:
    """What Ray Serve says of each deployment of the application; empty if there is none."""
    application = status.applications.get(_APPLICATION)
    return "\n".join(one.message for one in application.deployments.values()) if application else ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
