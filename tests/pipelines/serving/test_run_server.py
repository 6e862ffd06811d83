"""The server on Ray Serve, and what is checked before it starts."""

import shutil
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from pipelines.registry.registry_client import CHAMPION, NewVersion, open_registry
from pipelines.serving.limits import ServingLimits
from pipelines.serving.model_choice import ModelChoice
from pipelines.serving.run_server import ServerSettings, check_address, own_error, running_server
from tests.core.toy_corpus import draw
from tests.core.toy_model import write_toy_model
from trrg_core.config.settings import RayConfig, RegisterConfig
from trrg_core.errors import ConfigError
from trrg_core.runs.stored_model import model_path
from trrg_core.storage.store import Store

CONFIG = RegisterConfig(model_name="m")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_a_server_that_other_machines_reach_needs_a_token(host: str) -> None:
    with pytest.raises(ConfigError, match="needs a token"):
        check_address(ServerSettings(host=host, port=free_port()), ServingLimits())


def test_an_address_in_use_is_reported_before_anything_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = ServerSettings(port=server.getsockname()[1])
        with pytest.raises(ConfigError, match="cannot be listened on"):
            check_address(taken, ServingLimits())
    check_address(ServerSettings(port=free_port()), ServingLimits())
    check_address(ServerSettings(host="localhost", port=free_port()), ServingLimits())


def test_what_is_wrong_with_the_model_is_found_in_what_ray_serve_says() -> None:
    said = (
        "The deployment failed to start 1 times in a row. Error:\nray::ServeReplica:trrg:model.initialize() (pid=1)\n"
        '  File "manifest.py", line 9, in check_folder\n    raise ConfigError(message)\n'
        "trrg_core.errors.ConfigError: m/model.safetensors was changed\n\nThe above exception was the cause of"
    )
    assert own_error(said) == "m/model.safetensors was changed"
    assert own_error("RuntimeError: CUDA out of memory") == ""


def promote(store: Store, run_id: str, folder: Path) -> None:
    shutil.copytree(folder, store.join(model_path(run_id)))
    with open_registry(store, CONFIG) as models:
        version = models.create(NewVersion(run_id=f"r-{run_id}", source="/gone", generator=run_id, scores="s"))
        models.set_alias(CHAMPION, version)


@pytest.mark.ray
@pytest.mark.timeout(900)
def test_requests_are_written_in_batches_and_the_model_is_swapped_while_it_serves(
    store_with_registry: Store, tmp_path: Path
) -> None:
    store, folder = store_with_registry, write_toy_model(tmp_path / "toy")
    promote(store, "finetune-1", folder)
    choice = ModelChoice(store=store.uri, reference="models:/m@champion", register=CONFIG)
    settings = ServerSettings(port=free_port(), batch_size=4, poll_s=0.5)
    with running_server(choice, settings, ServingLimits(), RayConfig(local_cpus=2)) as address:

        def ask(number: int) -> httpx.Response:
            film = draw(number, ("", "e", "p")[number % 3])
            clues = [f"Pleural Effusion={('absent', 'left')[number % 2]}"] if number % 4 < 2 else []
            return httpx.post(
                f"{address}/v1/reports", files=[("film", ("a.jpg", film))], data={"clue": clues}, timeout=120
            )

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, range(24)))
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.json()["model"] for answer in answers} == {"models:/m/1, run finetune-1"}
        # an answer belongs to its own request
        assert [answer.json()["id"] for answer in answers] == [ask(number).json()["id"] for number in range(24)]
        effusions = [answer.json()["clues"][0] for answer in answers]
        assert ["given" in clue for clue in effusions] == [number % 4 < 2 for number in range(24)]
        assert [clue["left"] > 0.99 for clue in effusions] == [number % 4 == 1 for number in range(24)]
        metrics = httpx.get(f"{address}/metrics", timeout=60).text
        batches = next(line for line in metrics.splitlines() if line.startswith("trrg_batch_studies_sum"))
        assert float(batches.split()[1]) > 48, "no two studies were written together"
        promote(store, "finetune-2", folder)
        models: list[str] = []
        end = time.monotonic() + 300
        while "models:/m/2, run finetune-2" not in models and time.monotonic() < end:
            answer = ask(1)
            assert answer.status_code == 200
            models.append(answer.json()["model"])
        assert models[-1] == "models:/m/2, run finetune-2"
        cut = httpx.post(f"{address}/v1/reports", files=[("film", ("a.jpg", draw(1, "e")[:900]))], timeout=60)
        assert (cut.status_code, cut.json()["error"]["code"]) == (422, "jpeg_truncated")
        midline = httpx.post(
            f"{address}/v1/reports",
            files=[("film", ("a.jpg", draw(1, "e")))],
            data={"clue": "Cardiomegaly=left"},
            timeout=60,
        )
        assert (midline.status_code, midline.json()["error"]["code"]) == (400, "wrong_clue")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/health")
