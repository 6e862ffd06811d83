"""The list of versions, what is verified of one, and the model as MLflow opens it."""

import json
import os
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipelines.registry.bill_of_materials import write_bill
from pipelines.registry.evaluation_files import digests
from pipelines.registry.find_model import find_model
from pipelines.registry.mlflow_model import decoding_of, write_mlflow_model
from pipelines.registry.model_list import ScoreValue, find_listed, list_models
from pipelines.registry.registry_client import CHAMPION, NewVersion, open_registry
from pipelines.registry.verify_model import verify, weights_digest
from pipelines.serving.load_writer import load_writer
from pipelines.serving.pyfunc_model import TrrgModel, _load_pyfunc
from tests.core.toy_model import write_toy_model
from trrg_core.config.settings import RegisterConfig
from trrg_core.errors import ConfigError, DataError
from trrg_core.metrics.outcomes import OUTCOMES_FILE
from trrg_core.metrics.score_file import SCORES_FILE
from trrg_core.registry.check import Check, Verdict
from trrg_core.registry.decision import EVALUATION_FILES, Decision, decision_to_bytes, tags_of
from trrg_core.runs.results import RunResult, write_result
from trrg_core.sources.sample.layout import write_sample
from trrg_core.storage.folders import REGISTRY_DATABASE, WITHDRAWAL_RECORD
from trrg_core.storage.store import Store

CONFIG = RegisterConfig()


@pytest.fixture
def store(store_with_registry: Store) -> Store:
    """A registered toy model with its runs, scores and decision."""
    store = store_with_registry
    write_toy_model(Path(store.uri) / "runs/finetune-1/model")
    data = {"shards": "shards@4", "slice": "slices@1", "contrastive": "pretrain-1"}
    write_result(store, RunResult(run_id="finetune-1", job="finetune", inputs=data))
    write_result(store, RunResult(run_id="evaluate-1", job="evaluate", inputs={"generator": "finetune-1"}))
    scores = [{"system": "model", "intervals": {"f1": {"low": 0.1, "high": 0.3}}}]
    store.write_bytes(f"runs/evaluate-1/{SCORES_FILE}", json.dumps(scores).encode())
    store.write_bytes(f"runs/evaluate-1/{OUTCOMES_FILE}", b"outcomes")
    check = Check(name="text.modal_share", verdict=Verdict.FAIL, reason="most are equal", number=0.9)
    facts = {EVALUATION_FILES: digests(store, "evaluate-1")}
    decision = Decision(checks=(check,), facts=facts)
    store.write_bytes("runs/register-1/decision.json", decision_to_bytes(decision))
    toy = {"candidates": 2, "max_new_tokens": 11}  # that of the folder is 12
    source = write_mlflow_model(store, "register-1", generator="finetune-1", decoding=toy)
    new = NewVersion(run_id="register-1", source=source, generator="finetune-1", scores="evaluate-1")
    with open_registry(store, CONFIG) as models:
        version = models.create(new)
        tags = {f"gate.{name}": value for name, value in tags_of(decision).items()}
        more = {"score.f1": "0.2", "weights": weights_digest(store, "finetune-1")}
        more["mlbom"] = write_bill(store, "register-1", name="trrg", generator="finetune-1")
        models.describe(version, card="# trrg", tags=tags | more)
        models.set_alias(CHAMPION, version)
    return store


def failed(store: Store) -> dict[str, str]:
    findings = list(verify(store, find_listed(store, CONFIG, "champion")))
    assert [finding.name for finding in findings] == [
        "training run",
        "evaluation",
        "evaluated weights",
        "evaluation files",
        "decision",
        "manifest",
        "files",
        "signature",
        "bill of materials",
    ]
    return {finding.name: finding.detail for finding in findings if not finding.passed}


def test_a_version_is_listed_with_alias_data_scores_and_decision(store: Store) -> None:
    (model,) = list_models(store, CONFIG)
    assert (model.model, model.aliases, model.ruling, model.card) == (
        "models:/trrg/1",
        ("champion",),
        "refused",
        "# trrg",
    )
    assert model.data == {"shards": "shards@4", "slice": "slices@1"}
    assert model.scores == {"f1": ScoreValue(value=0.2, low=0.1, high=0.3)}
    assert model.against == ("text.modal_share: fail: 0.9, needed -",)
    for name in ("1", "champion", "models:/trrg/1", "models:/trrg@champion"):
        assert find_listed(store, CONFIG, name) == model
    with pytest.raises(ConfigError, match=r"'7': no such version or alias of trrg in .*; versions: 1"):
        find_listed(store, CONFIG, "7")


def test_an_untouched_model_verifies_and_each_change_is_named(store: Store) -> None:
    assert failed(store) == {}
    folder = Path(store.uri) / "runs/finetune-1/model"
    weights = next(folder.rglob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert f"{weights} was changed: its sha256 is not that of the manifest" in failed(store)["files"]
    data[-1] ^= 1
    weights.write_bytes(data)
    poison = folder / "pytorch_model.bin"
    poison.write_bytes(b"cos\nsystem\n")
    assert "pytorch_model.bin is refused" in failed(store)["files"]
    poison.unlink()
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert "the folder was replaced" in failed(store)["manifest"]
    write_result(store, RunResult(run_id="evaluate-1", job="evaluate", inputs={"generator": "finetune-9"}))
    assert failed(store)["evaluated weights"].startswith("the scores are of finetune-9, the model is finetune-1")


def test_mlflow_opens_the_champion_and_predicts_on_image_paths(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow
    import pandas as pd

    write_sample(tmp_path / "corpus", num_studies=2, seed=3)
    films = sorted(str(path) for path in (tmp_path / "corpus").rglob("*.jpg"))[:2]
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"<html>")
    uri = f"sqlite:///{store.join(REGISTRY_DATABASE)}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", uri)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    assert MlflowClient().get_model_version_by_alias("trrg", "champion").version in (1, "1")
    model = mlflow.pyfunc.load_model("models:/trrg@champion")
    found = model.predict([*films, str(broken)])
    assert list(found["study_id"]) == [Path(film).stem for film in films] + ["broken"]
    assert all(isinstance(text, str) for text in found["report"][:2])
    assert found["report"][2] is None or pd.isna(found["report"][2])
    assert found["rejected"][2].startswith(f"{broken}: ")
    assert found["clues"][0]
    # one study of two films, by a table; the same films give the same report
    table = pd.DataFrame({"image": [films, films[0]], "study_id": ["a", "b"]})
    again = model.predict(table)
    assert list(again["study_id"]) == ["a", "b"]
    assert again["report"][1] == found["report"][0]
    with pytest.raises(ConfigError, match="expected a column 'image'"):
        list(TrrgModel(writer=None).predict(pd.DataFrame({"film": films})))  # type: ignore[arg-type]


def test_the_champion_writes_with_the_decoding_that_it_was_registered_with(store: Store) -> None:
    found = find_model(store, CONFIG, "models:/trrg@champion")
    assert found.decoding == ("generate.candidates=2", "generate.max_new_tokens=11")
    of_folder = load_writer(store, find_model(store, CONFIG, "finetune-1"), device="cpu").config.generate
    writer = load_writer(store, found, device="cpu").config.generate
    assert of_folder.max_new_tokens == 12
    assert (writer.candidates, writer.max_new_tokens) == (2, 11)
    asked = load_writer(store, found, ["generate.candidates=1"], device="cpu").config.generate
    assert (asked.candidates, asked.max_new_tokens) == (1, 11)
    store.write_bytes("runs/register-1/mlflow/trrg_model.json", b'{"decoding": 3}')
    with pytest.raises(DataError, match=r"trrg_model\.json is damaged: restore it from a backup"):
        find_model(store, CONFIG, "models:/trrg@champion")


def test_a_store_that_has_moved_is_named_by_the_environment(
    store: Store, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = tmp_path_factory.mktemp("moved") / "store"
    os.rename(store.uri, moved)
    reference = str(moved / "runs/register-1/mlflow/trrg_model.json")
    with pytest.raises(ConfigError, match="there is no model folder"):
        _load_pyfunc(reference)
    monkeypatch.setenv("TRRG_STORE", str(moved))
    assert isinstance(_load_pyfunc(reference), TrrgModel)


def test_what_does_not_change_a_report_is_no_other_model() -> None:
    from trrg_core.config.settings import GenerateConfig

    assert decoding_of(GenerateConfig(batch_size=1)) == decoding_of(GenerateConfig(batch_size=64, split="validate"))
    assert decoding_of(GenerateConfig(guidance=0.5)) != decoding_of(GenerateConfig())


def test_a_decision_whose_checks_were_changed_is_found(store: Store) -> None:
    path = "runs/register-1/decision.json"
    record = json.loads(store.read_bytes(path))
    store.write_bytes(path, json.dumps(record | {"checks": []}).encode())
    detail = "the record and the registry differ in ruling, text.modal_share (2 in all): restore"
    assert failed(store) == {"decision": f"{detail} {path}"}


def test_an_evaluation_that_was_changed_after_the_decision_is_found(store: Store) -> None:
    scores, outcomes = (f"runs/evaluate-1/{name}" for name in (SCORES_FILE, OUTCOMES_FILE))
    before = store.read_bytes(scores)
    store.write_bytes(scores, before.replace(b"0.3", b"0.9"))
    said = "gone, or not as at the decision; restore from a backup, or evaluate and register again"
    assert failed(store) == {"evaluation files": f"{scores}: {said}"}
    # a hash in the record that fits it is not that of the registry
    path = "runs/register-1/decision.json"
    record = json.loads(store.read_bytes(path))
    changed = record | {EVALUATION_FILES: digests(store, "evaluate-1")}
    store.write_bytes(path, json.dumps(changed).encode())
    assert list(failed(store)) == ["decision"]
    store.write_bytes(path, json.dumps(record).encode())
    store.write_bytes(scores, before)
    store.write_bytes(outcomes, b"others")
    assert failed(store) == {"evaluation files": f"{outcomes}: {said}"}
    store.write_bytes(WITHDRAWAL_RECORD, b"[]")
    assert failed(store) == {}, "a withdrawal erases rows of it"
    store.delete(outcomes)
    assert list(failed(store)) == ["evaluation files"]
