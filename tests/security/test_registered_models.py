"""One small run from shards to the registry, with canaries in its reports: what it leaves, and attacks on its model."""

import json
import logging
import os
import re
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pipelines.jobs import finetune, pretrain, register
from pipelines.registry.alias_moves import promote
from pipelines.registry.find_model import find_model
from pipelines.registry.model_list import find_listed
from pipelines.registry.model_signature import check_model, sign_model
from pipelines.registry.registry_client import CHAMPION, NewVersion, open_registry
from pipelines.registry.verify_model import verify
from pipelines.serving.golden_output import reproduce
from pipelines.serving.load_writer import load_writer
from tests.core.toy_corpus import toy_config, toy_row
from tests.core.toy_versions import LABEL_SET, write_version
from tests.pipelines.conftest import empty_registry  # noqa: F401 -- a fixture
from tests.pipelines.jobs.test_register import BASE, STUDIES, write_model
from tests.security.signing_keys import use_pair, write_pair
from trrg_core.config.settings import RegisterConfig
from trrg_core.errors import ConfigError
from trrg_core.model.manifest import write_manifest
from trrg_core.runs.results import require_result, write_result
from trrg_core.storage.folders import REGISTRY_DATABASE
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.schema import shards_schema

CONFIG = RegisterConfig()
MIXES = ("", "e", "p", "c", "ep", "ec", "pc", "epc")
CANARIES = ("Zyxwolf", "Qarthene", "7364519", "03/17/2019", "555-010-0199")
SENTENCE = "Told to Zyxwolf by Dr. Qarthene on 03/17/2019, MRN 7364519, 555-010-0199."


@dataclass(frozen=True)
class Run:
    """A finished run: its store, its keys, and what it wrote beside the store."""

    store: Store
    generator: str
    private: Path
    public: Path
    log: str
    elsewhere: Path


def canary_rows() -> list[dict]:
    """48 toy studies; each report of the training split has the canaries in its text and as a sentence."""
    rows = [
        toy_row(number, MIXES[number % 8]) | {"split": split, "has_prior": False, "sex": "", "age_years": None}
        for number, split in enumerate(["train"] * 32 + ["validate"] * 8 + ["test"] * 8)
    ]
    for row in rows[:32]:
        row["report"] += f" {SENTENCE}"
        row["sentences"].append({**row["sentences"][0], "text": SENTENCE, "facts": [], "flips": []})
    return rows


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, empty_registry: bytes) -> Run:  # noqa: F811
    folder, patch = tmp_path_factory.mktemp("run"), pytest.MonkeyPatch()
    elsewhere = folder / "elsewhere"
    for variable in ("TMPDIR", "HF_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "HOME"):
        (elsewhere / variable).mkdir(parents=True)
        patch.setenv(variable, str(elsewhere / variable))
    patch.setattr(tempfile, "tempdir", None)
    patch.delenv("TRRG_MANIFEST_KEY", raising=False)
    patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")  # as the command line sets it
    private, public = write_pair(folder)
    use_pair(patch, private, public)
    log = folder / "log"
    handler = logging.FileHandler(log)
    logging.getLogger().addHandler(handler)
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.DEBUG)
    try:
        store = open_store(str(folder / "store"))
        store.write_bytes(REGISTRY_DATABASE, empty_registry)
        shards = str(write_version(store, "shards", canary_rows(), shards_schema(LABEL_SET), fingerprint="canaries"))
        config = toy_config(
            "engine.local=true",
            "pretrain.epochs=1",
            "finetune.epochs=1",
            "perception_gate.min_studies=1000000",
            "generate.max_new_tokens=12",
            "register.bootstrap_samples=100",
        )
        stage1 = pretrain.run(config, store, {"shards": shards}).ref
        generator = finetune.run(config, store, {"shards": shards, "contrastive": stage1}).ref
        scores = write_model(store, "scored", STUDIES.table(BASE))["scores"]
        evaluated = require_result(store, scores)
        write_result(store, replace(evaluated, inputs={**evaluated.inputs, "generator": generator}))
        result = register.run(config, store, {"scores": scores, "generator": generator})
        assert result.notes["model"] == "models:/trrg/1"
    finally:
        logging.getLogger().removeHandler(handler)
        logging.getLogger().setLevel(level)
        handler.close()
        patch.undo()
        tempfile.tempdir = None
    return Run(store, generator, private, public, log.read_text(), elsewhere)


@pytest.fixture
def copy(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store for a test to attack, with both keys configured."""
    shutil.copytree(run.store.uri, tmp_path / "store")
    use_pair(monkeypatch, run.private, run.public)
    return open_store(str(tmp_path / "store"))


def files_with(folder: Path, text: str) -> list[str]:
    """The files below a folder that hold `text`, in any case, outside of fractions: any five digits stand in some."""
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and text.lower().encode() in re.sub(rb"\d\.\d+", b"0", path.read_bytes()).lower()
    ]


def test_no_canary_of_a_report_is_in_models_registry_logs_and_caches(run: Run) -> None:
    store = Path(run.store.uri)
    for canary in (*CANARIES, "zyxwo", "qarth", "73645"):
        assert files_with(store / "runs", canary) == []
        assert files_with(store / "registry", canary) == []
        assert files_with(run.elsewhere, canary) == []
        assert canary.lower() not in run.log.lower()
    assert "register: " in run.log
    assert len(list((store / "runs").rglob("tokenizer.json"))) >= 3
    assert any((store / REGISTRY_DATABASE).read_bytes().count(name) for name in (run.generator.encode(),))


def findings(store: Store) -> dict[str, str]:
    """What is wrong with the registered model, by name."""
    return {one.name: one.detail for one in verify(store, find_listed(store, CONFIG, "1")) if not one.passed}


def model_folder(run: Run, store: Store) -> Path:
    return Path(store.join(f"runs/{run.generator}/model"))


def test_an_untouched_model_verifies_loads_and_writes_its_golden_output(run: Run, copy: Store) -> None:
    # the evaluation is of another run here
    assert set(findings(copy)) <= {"evaluated weights"}
    model = find_listed(copy, CONFIG, "1")
    assert {"weights", "mlbom", "golden"} <= {name for name, value in model.tags.items() if len(value) == 64}
    golden = reproduce(copy, model)
    assert (golden.passed, golden.detail.startswith("the same report and clues")) == (True, True)
    stored = json.loads(copy.read_bytes(f"runs/{model.registration}/golden.json"))
    assert 3 <= len(stored["clues"]) <= len(LABEL_SET.observations)
    assert set(stored["clues"]) <= set(LABEL_SET.observations)


def test_other_weights_under_a_manifest_that_agrees_are_refused_everywhere(run: Run, copy: Store) -> None:
    folder = model_folder(run, copy)
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 0x40
    weights.write_bytes(data)
    (folder / "manifest.json").unlink()
    write_manifest(folder)
    found = findings(copy)
    assert "the folder was replaced" in found["manifest"]
    assert "was changed since the model was signed" in found["signature"]
    assert "is of another model" in found["bill of materials"]
    assert not reproduce(copy, find_listed(copy, CONFIG, "1")).passed
    with pytest.raises(ConfigError, match="registered is"):
        load_writer(copy, find_model(copy, CONFIG, "models:/trrg/1"))
    with pytest.raises(ConfigError, match="was changed since the model was signed"):
        load_writer(copy, find_model(copy, CONFIG, run.generator))
    with pytest.raises(ConfigError, match="was changed since the model was signed"):
        load_writer(copy, find_model(copy, CONFIG, str(folder)))
    with open_registry(copy, CONFIG) as models:
        models.create(NewVersion(run_id="register-2", source="", generator="finetune-scored", scores=""))
        models.set_alias(CHAMPION, "2")
    with pytest.raises(ConfigError, match="registered is"):
        promote(copy, CONFIG, "1", "an attack")
    # the signature of a person cannot be had for another folder than the registered one
    with pytest.raises(ConfigError, match="registered is"):
        sign_model(copy, run.generator, digest=find_listed(copy, CONFIG, "1").tags["weights"])


def test_an_unsigned_model_or_one_of_another_key_is_refused_where_a_key_is_configured(
    run: Run, copy: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find_model(copy, CONFIG, "models:/trrg/1")
    signature = f"runs/{run.generator}/model.sig"
    check_model(copy, found, model_folder(run, copy))
    private, public = write_pair(tmp_path, "other")
    use_pair(monkeypatch, private, public)
    with pytest.raises(ConfigError, match="refused: the signature is not of the key"):
        load_writer(copy, found)
    assert "signature" in findings(copy)
    assert "bill of materials" in findings(copy)
    copy.delete(signature)
    with pytest.raises(ConfigError, match=r"is not signed.*trrg sign"):
        load_writer(copy, found)
    # a person may sign it anew; without the private key registration would make what nobody can load
    assert sign_model(copy, run.generator, digest=found.digest) == signature
    check_model(copy, found, model_folder(run, copy))
    copy.delete(signature)
    use_pair(monkeypatch, None, public)
    with pytest.raises(ConfigError, match="TRRG_SIGNING_KEY is not"):
        sign_model(copy, run.generator)
    use_pair(monkeypatch, None, None)
    check_model(copy, found, model_folder(run, copy))


def test_the_bill_names_model_data_code_and_packages(run: Run, copy: Store) -> None:
    model = find_listed(copy, CONFIG, "1")
    bill = json.loads(copy.read_bytes(f"runs/{model.registration}/mlbom.cdx.json"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    described = bill["metadata"]["component"]
    assert described["type"] == "machine-learning-model"
    assert described["hashes"] == [{"alg": "SHA-256", "content": model.tags["weights"]}]
    assert "model.safetensors" in {part["name"] for part in described["components"]}
    by_kind: dict[str, list[str]] = {}
    for part in bill["components"]:
        by_kind.setdefault(part["type"], []).append(part["name"])
    assert by_kind["data"] == ["shards"]
    assert by_kind["application"] == ["trrg", "trrg"]
    assert {"torch", "safetensors", "trrg"} & set(by_kind["library"]) >= {"torch", "safetensors"}
    refs = {part["bom-ref"] for part in bill["components"]}
    assert len(refs) == len(bill["components"])
    assert set(bill["dependencies"][0]["dependsOn"]) == refs
    path = Path(copy.join(f"runs/{model.registration}/mlbom.cdx.json"))
    path.write_text(path.read_text() + " ")
    assert "is not the one that was registered" in findings(copy)["bill of materials"]


def test_a_golden_output_that_was_changed_is_named(run: Run, copy: Store) -> None:
    model = find_listed(copy, CONFIG, "1")
    path = Path(copy.join(f"runs/{model.registration}/golden.json"))
    path.write_text(path.read_text().replace('"report_sha256": "', '"report_sha256": "0'))
    assert "is not the one that was registered" in reproduce(copy, model).detail
    os.remove(path)
    assert reproduce(copy, model).detail.endswith("golden.json is missing")


def test_another_signed_model_does_not_pass_for_this_one(run: Run, copy: Store) -> None:
    older = "finetune-older"
    shutil.copytree(model_folder(run, copy), copy.join(f"runs/{older}/model"))
    sign_model(copy, older)
    check_model(copy, find_model(copy, CONFIG, older), model_folder(run, copy))
    copy.write_bytes(f"runs/{run.generator}/model.sig", copy.read_bytes(f"runs/{older}/model.sig"))
    with pytest.raises(ConfigError, match=f"of another model than {run.generator}"):
        load_writer(copy, find_model(copy, CONFIG, "models:/trrg/1"))
