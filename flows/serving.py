"""The Prefect UI on the loopback interface, with deployments of the flows that can be started there."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, cast

import typer

from trrg_core.errors import ConfigError
from trrg_core.extras import require_package

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.deployments.runner import RunnerDeployment

START_TIMEOUT_S = 120


def serve_ui(*, port: int, store: str) -> None:
    """Run a Prefect server on 127.0.0.1 and serve the flows until it is interrupted.

    Raises:
        ConfigError: if the extra `flows` is not installed, or the server does not start.
    """
    require_package("prefect", "trrg ui")
    url = f"http://127.0.0.1:{port}"
    os.environ["PREFECT_API_URL"] = f"{url}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _wait(server, f"{url}/api/health")
        typer.echo(f"Prefect UI: {url}/deployments (stop with Ctrl-C)")
        _serve(os.path.abspath(store) if "://" not in store else store)
    finally:
        server.terminate()
        server.wait(timeout=30)


def _serve(store: str) -> None:
    from prefect import serve

    from flows.reslicing import reslice
    from flows.retraining import retrain

    descriptions: dict[Flow[..., Any], str] = {
        retrain: "Source tree to registered model; the earlier result of a stage is reused.",
        reslice: "Another sample of the train studies, by a spec; training on it may follow.",
    }
    deployments = [
        # a coroutine only where an event loop runs already
        cast(
            "RunnerDeployment",
            flow.to_deployment(name=flow.name, parameters={"store": store}, description=text, tags=["trrg"]),
        )
        for flow, text in descriptions.items()
    ]
    serve(*deployments, limit=1)


def _wait(server: subprocess.Popen[bytes], health: str) -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end:
        if server.poll() is not None:
            raise ConfigError(f"the Prefect server stopped with code {server.returncode}; is the port in use?")
        try:
            with urllib.request.urlopen(health, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise ConfigError(f"no answer from {health} within {START_TIMEOUT_S} s")
