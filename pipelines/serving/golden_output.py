"""What a registered model writes for one drawn film: stored when it is registered, written again to verify it.

The film is drawn, of no patient. The report itself is not kept, only its sha256, and the probabilities of the clues.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipelines.registry.find_model import FoundModel
from pipelines.registry.mlflow_model import settings_of
from pipelines.registry.model_list import ListedModel
from pipelines.registry.model_signature import check_stored
from pipelines.registry.registry_client import GOLDEN_TAG, WEIGHTS_TAG
from pipelines.registry.verify_model import Finding
from pipelines.serving.load_writer import load_writer
from trrg_core.errors import ConfigError, TrrgError
from trrg_core.generation.film_reading import film_format, read_film
from trrg_core.generation.report_writer import ReportWriter, StudyRequest
from trrg_core.runs.results import run_path
from trrg_core.storage.store import Store

GOLDEN_FILE, FILM_FILE = "golden.json", "golden.png"
_SIDE_PX = 512
_TOLERANCE = 1e-3  # of a probability: kernels of another CPU differ in the last digits


def write_golden(store: Store, run_id: str, *, generator: str, decoding: Mapping[str, Any]) -> str:
    """Store the golden output of the model of `generator` in the registration `run_id`; its sha256.

    Raises:
        ConfigError: if the model cannot be loaded.
    """
    film = draw_film()
    writer = _load(store, generator, decoding)
    written = {
        "decoding": dict(decoding),
        "film": hashlib.sha256(film).hexdigest(),
        "environment": _environment(),
        **_write(writer, film),
    }
    data = json.dumps(written, indent=1, sort_keys=True).encode()
    store.write_bytes(f"{run_path(run_id)}/{FILM_FILE}", film)
    store.write_bytes(f"{run_path(run_id)}/{GOLDEN_FILE}", data)
    return hashlib.sha256(data).hexdigest()


def reproduce(store: Store, model: ListedModel) -> Finding:
    """Whether a registered model still writes its golden output; it is loaded for that, once it is verified."""
    try:
        return Finding(name="golden output", passed=True, detail=_reproduce(store, model))
    except (TrrgError, OSError) as error:
        return Finding(name="golden output", passed=False, detail=str(error))


def _reproduce(store: Store, model: ListedModel) -> str:
    digest, folder = model.tags.get(GOLDEN_TAG, ""), run_path(model.registration)
    if not digest:
        return "none was stored: the model was registered before 0.3, or with register.golden_output=false"
    for name in (GOLDEN_FILE, FILM_FILE):
        if not store.exists(f"{folder}/{name}"):
            raise ConfigError(f"{folder}/{name} is missing")
    data, film = store.read_bytes(f"{folder}/{GOLDEN_FILE}"), store.read_bytes(f"{folder}/{FILM_FILE}")
    golden = json.loads(data) if hashlib.sha256(data).hexdigest() == digest else None
    if golden is None or golden["film"] != hashlib.sha256(film).hexdigest():
        raise ConfigError(f"{folder}/{GOLDEN_FILE} or {FILM_FILE} is not the one that was registered")
    check_stored(store, _found(model.generator, model.tags.get(WEIGHTS_TAG, "")))
    now = _write(_load(store, model.generator, golden["decoding"]), film)
    where = f"stored under {_in_words(golden['environment'])}, now {_in_words(_environment())}"
    if golden["clues"].keys() != now["clues"].keys():
        raise ConfigError(f"the clues are of other findings than those stored ({where})")
    apart = max((abs(golden["clues"][name] - value) for name, value in now["clues"].items()), default=0.0)
    if apart > _TOLERANCE:
        raise ConfigError(f"clues differ by up to {apart:.4f} from those stored ({where})")
    if golden["report_sha256"] != now["report_sha256"]:
        raise ConfigError(f"another report is written than was stored, by equal clues ({where})")
    return f"the same report and clues ({where})"


def draw_film() -> bytes:
    """A PNG [512,512] of two dark fields between bright borders, as far as it goes a chest; always the same bytes."""
    from PIL import Image

    rows, columns = np.mgrid[0:_SIDE_PX, 0:_SIDE_PX] / _SIDE_PX
    lungs = sum(np.exp(-(((columns - x) / 0.16) ** 2 + ((rows - 0.45) / 0.3) ** 2)) for x in (0.3, 0.7))
    pixels = np.clip(210 - 150 * lungs, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _found(generator: str, digest: str = "") -> FoundModel:
    return FoundModel(name=f"run {generator}", run_id=generator, digest=digest)


def _load(store: Store, generator: str, decoding: Mapping[str, Any]) -> ReportWriter:
    # the drawn film is unlike any radiograph
    return load_writer(store, _found(generator), settings_of({**decoding, "withhold_above": None}))


def _write(writer: ReportWriter, film: bytes) -> dict[str, Any]:
    read = read_film(film, name=FILM_FILE, view_position="PA", form=film_format(writer.config))
    (written,) = writer.write([StudyRequest(study_id="golden", films=(read,))])
    return {
        "report_sha256": hashlib.sha256(written.report.encode()).hexdigest(),
        "clues": {clue.observation: round(clue.probability, 6) for clue in written.clues},
    }


def _environment() -> dict[str, str]:
    import torch
    import transformers

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {"torch": torch.__version__, "transformers": transformers.__version__, "device": device}


def _in_words(environment: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(environment.items()))
