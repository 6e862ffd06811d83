"""`python -m infra.bench.serve`: requests to a served model, at a fixed concurrency, from the same machine.

    python -m infra.bench.serve --store demo/store            # the champion of a store
    python -m infra.bench.serve                               # random weights of the preset `tiny`

Each request is the frontal film of one of 50 invented studies, with an id of its own. A request is lost if it is not
answered with 200, its own id and a report. With one draft the report of a film must be the same each time, whatever
studies it was written together with. Exits with 1 if a request is lost or a report differs.
"""

import argparse
import http.client
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import numpy as np

from infra.bench.tiny_model import write_tiny_model
from pipelines.registry.find_model import DEFAULT_MODEL
from pipelines.serving.limits import ServingLimits
from pipelines.serving.model_choice import ModelChoice
from pipelines.serving.run_server import ServerSettings, running_server
from trrg_core.config.load import load_config
from trrg_core.imaging.decode import encode_jpeg
from trrg_core.sources.sample.layout import generate_studies
from trrg_core.sources.sample.radiograph import render_radiograph
from trrg_core.storage.store import open_store

REQUESTS, CONCURRENCY, FILMS, SEED = 500, 16, 50, 5
_BOUNDARY = "a-boundary-that-no-film-has"
CONTENT_TYPE = f"multipart/form-data; boundary={_BOUNDARY}"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One request: the film it sent, seconds, and the report; None if it is lost."""

    film: int
    seconds: float
    report: str | None


def main() -> None:
    """Run the bench with the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default="", help="store of a trained model; none: random weights")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--concurrency", type=int, default=CONCURRENCY)
    parser.add_argument("--candidates", type=int, nargs="+", default=[1], help="drafts of a report, one row for each")
    given = parser.parse_args()
    films = draw_films(FILMS)
    passed = True
    print(
        f"{'drafts':>6}{'requests':>10}{'at once':>9}{'lost':>6}"
        f"{'p50 s':>8}{'p95 s':>8}{'max s':>8}{'a second':>10}{'load':>6}"
    )
    with served_choice(given.store, given.model) as choice:
        for candidates in given.candidates:
            settings = (f"generate.candidates={candidates}",)
            chosen = ModelChoice(
                store=choice.store, reference=choice.reference, register=choice.register, settings=settings
            )
            began, answers = bench_server(chosen, films, given.requests, given.concurrency)
            passed &= report_row(candidates, answers, time.perf_counter() - began, given.concurrency)
    sys.exit(not passed)


def bench_server(
    choice: ModelChoice, films: Sequence[bytes], num_requests: int, concurrency: int
) -> tuple[float, list[Answer]]:
    """When the first request was sent, and all answers; the server is warm by then."""
    limits, ray_config = ServingLimits(report_timeout_s=600, body_timeout_s=600), load_config("tiny").ray
    with (
        running_server(choice, ServerSettings(port=8765), limits, ray_config) as address,
        ThreadPoolExecutor(concurrency) as pool,
    ):
        list(pool.map(lambda number: ask(address, films, number), range(concurrency)))
        began = time.perf_counter()
        return began, list(pool.map(lambda number: ask(address, films, number), range(num_requests)))


def ask(address: str, films: Sequence[bytes], number: int) -> Answer:
    """The answer to request `number`."""
    film = number % len(films)
    body = form_body(films[film], number)
    began = time.perf_counter()
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=900)
    try:
        connection.request("POST", "/v1/reports", body, {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"})
        response = connection.getresponse()
        record = json.loads(response.read())
        is_own = response.status == 200 and record["id"] == str(number)
        report = record["report"] if is_own else None
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        report = None
    finally:
        connection.close()
    return Answer(film=film, seconds=time.perf_counter() - began, report=report)


def form_body(film: bytes, number: int) -> bytes:
    """The form of request `number`."""
    fields = (("id", str(number).encode()), ("view", b"PA"), ('film"; filename="film.jpg', film))
    parts = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value + b"\r\n"
        for name, value in fields
    )
    return b"".join(parts) + f"--{_BOUNDARY}--\r\n".encode()


def report_row(candidates: int, answers: Sequence[Answer], wall_s: float, concurrency: int) -> bool:
    """Print one row and its verdict; whether no request was lost and each film always had the same report."""
    seconds = sorted(answer.seconds for answer in answers)
    cuts = statistics.quantiles(seconds, n=20)
    lost = sum(answer.report is None for answer in answers)
    reports: dict[int, set[str | None]] = {}
    for answer in answers:
        reports.setdefault(answer.film, set()).add(answer.report)
    differing = sum(len(of_film) > 1 for of_film in reports.values())
    print(
        f"{candidates:6}{len(answers):10}{concurrency:9}{lost:6}{statistics.median(seconds):8.2f}{cuts[-1]:8.2f}"
        f"{seconds[-1]:8.2f}{len(answers) / wall_s:10.1f}{os.getloadavg()[0]:6.1f}"
    )
    # sampled drafts are drawn from probabilities whose last digits depend on the batch
    passed = not lost and (candidates > 1 or not differing)
    print(
        f"{'PASS' if passed else 'FAIL'}: {len(answers) - lost} of {len(answers)} answered, "
        f"p50 {statistics.median(seconds):.2f} s, p95 {cuts[-1]:.2f} s, "
        f"{differing} of {len(reports)} films with several reports"
    )
    return passed


def draw_films(number: int) -> list[bytes]:
    """Frontal films of invented studies, as JPEG."""
    return [
        encode_jpeg(np.asarray(render_radiograph(study.patient, study.truth, "PA", SEED).convert("L")))
        for study in generate_studies(number, SEED)
    ]


@contextmanager
def served_choice(store: str, model: str) -> Iterator[ModelChoice]:
    """The model to serve: of `store`, else one of the preset `tiny` with random weights."""
    settings = ("generate.max_new_tokens=60",)
    config = load_config("tiny", settings)
    if store:
        yield ModelChoice(store=open_store(store).uri, reference=model, register=config.register_)
        return
    with TemporaryDirectory() as folder:
        place = write_tiny_model(Path(folder) / "model", settings, seed=SEED)
        yield ModelChoice(store=folder, reference=str(place), register=config.register_)


if __name__ == "__main__":
    main()
