"""The register job on runs that are written by hand; MLflow keeps its SQLite file in the store."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from infra.bench.gate_nights import RATES, Model, TestSet, shift_for
from pipelines.jobs import register
from pipelines.records.job_result import JobResult
from pipelines.registry import planned_changes, rivals, seen_studies
from pipelines.registry.alias_moves import BY_PERSON, MOVES, list_moves, promote
from pipelines.registry.dashboard import build_dashboard
from pipelines.registry.lost_champion import find_lost
from pipelines.registry.registry_client import BEST_CHAMPION, CHALLENGER, CHAMPION, open_registry
from pipelines.registry.seen_studies import count_seen
from trrg_core.config.load import load_config
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import ConfigError, DataError, StorageError
from trrg_core.labels import load_label_set
from trrg_core.metrics.image_use import IMAGE_OUTCOMES_FILE
from trrg_core.metrics.outcomes import OUTCOMES_FILE, Basis, OutcomeTable, outcomes_from_bytes, outcomes_to_bytes
from trrg_core.metrics.score_file import SCORES_FILE, scores_to_bytes
from trrg_core.metrics.systems import System, clinical_score, findings_family, metric_key
from trrg_core.pages.gate_section import insert_decision
from trrg_core.registry.check import Verdict
from trrg_core.registry.decision import DECISION_FILE, Ruling, decision_from_bytes
from trrg_core.runs.results import RunResult, read_result, run_path, write_result
from trrg_core.storage.folders import REGISTRY_DATABASE
from trrg_core.storage.store import Store
from trrg_core.withdrawal.record import Withdrawal, WithdrawalKey, write_withdrawals

STUDIES = TestSet(400, seed=11)
BASE = Model(shift=0.0, seed=1)
SETTINGS = ("register.bootstrap_samples=200", "register.min_f1_gain=0")


@pytest.fixture
def config() -> TrrgConfig:
    return load_config("tiny", list(SETTINGS))


def better(gain: float, seed: int) -> Model:
    return Model(shift=shift_for(BASE.f1 + gain), seed=seed)


def write_model(store: Store, name: str, table: OutcomeTable, *, finished_ms: int = 1) -> dict[str, str]:
    """A generator run and an `evaluate` run with these outcomes; the inputs of `register`."""
    inputs = {"generator": f"finetune-{name}", "scores": f"evaluate-{name}"}
    score = clinical_score(findings_family(load_label_set("chexpert14")))
    rates = {name: value for name, value in RATES.items() if value is not None}
    values = {System.MODEL: {score: 0.4, **rates}, System.MODAL_REPORT: {score: 0.3}}
    metrics = {metric_key(system, key): value for system, of in values.items() for key, value in of.items()}
    write_result(store, RunResult(run_id=inputs["generator"], job="finetune", inputs={"shards": "shards@0"}))
    made_of = {"shards": "shards@0", "generator": inputs["generator"], "predictions": "predictions@0"}
    write_result(
        store,
        RunResult(run_id=inputs["scores"], job="evaluate", inputs=made_of, metrics=metrics, finished_ms=finished_ms),
    )
    basis = {"section": "findings", "num_studies": 9, "num_patients": 8, "conventions": {"interval": "95 %"}}
    absent = {name: "nothing to count" for name, value in RATES.items() if value is None}
    entries = [{"system": system, "values": of, "absent": absent, **basis} for system, of in values.items()]
    folder = run_path(inputs["scores"])
    store.write_bytes(f"{folder}/{SCORES_FILE}", scores_to_bytes(entries))
    store.write_bytes(f"{folder}/{OUTCOMES_FILE}", outcomes_to_bytes(table))
    store.write_bytes(f"{folder}/{IMAGE_OUTCOMES_FILE}", outcomes_to_bytes(STUDIES.images(BASE)))
    return inputs


def aliases(store: Store, config: TrrgConfig) -> dict[str, str]:
    with open_registry(store, config.register_) as models:
        found = {alias: models.at(alias) for alias in (CHALLENGER, CHAMPION, BEST_CHAMPION)}
    return {alias: known.version for alias, known in found.items() if known}


def record(store: Store, ref: str) -> dict:
    return json.loads(store.read_bytes(f"{run_path(ref)}/{DECISION_FILE}"))


def test_a_first_model_above_the_floors_becomes_champion_and_everything_says_why(
    store_with_registry: Store, config: TrrgConfig
):
    store = store_with_registry
    inputs = write_model(store, "a", STUDIES.table(BASE))
    store.write_bytes(f"{run_path('evaluate-a')}/report.html", b"<main>\n<!-- gate -->\n</main>")
    result = register.run(config, store, inputs)
    assert result.counts == {"version": 1.0, "promoted": 1.0}
    assert (result.notes["model"], result.notes["alias"]) == ("models:/trrg/1", CHAMPION)
    assert (result.notes["ruling"], result.notes["reasons"]) == (Ruling.PROMOTED, "")
    decision = decision_from_bytes(Path(result.notes["decision"]).read_bytes())
    assert decision.ruling is Ruling.PROMOTED
    assert decision.facts["challenger"] == inputs
    assert decision.facts["bounds"]["min_studies"] == config.register_.min_studies
    card = Path(result.notes["card"]).read_text("utf-8")
    assert "Promoted." in card
    assert "| floor.nearest_neighbour | pass | 0.1" in card
    assert "9 studies of 8 patients, section findings." in card
    page = Path(result.notes["report"]).read_text("utf-8")
    assert "Gate: promoted" in page
    assert "floor.nearest_neighbour" in page
    with open_registry(store, config.register_) as models:
        known = models.at(CHAMPION)
    assert known is not None
    assert known.tags["gate.ruling"] == "promoted"
    assert known.tags["gate.floor.modal_report"].startswith("pass: 0.")
    # the scores of the floors are no scores of the version
    assert [name for name in known.tags if name.startswith("score.") and "modal_report" in name] == []
    assert register.run(config, store, inputs).reused


def test_a_model_is_not_registered_with_the_scores_of_another(store_with_registry: Store, config: TrrgConfig):
    store = store_with_registry
    scored, other = (write_model(store, name, STUDIES.table(BASE)) for name in "ab")
    reason = "^evaluate-a has the scores of finetune-a, not of finetune-b: run generate and evaluate, each with"
    with pytest.raises(ConfigError, match=reason):
        register.run(config, store, {"generator": other["generator"], "scores": scored["scores"]})
    assert aliases(store, config) == {}


@pytest.mark.parametrize(
    ("notes", "reason"),
    [
        ({"split": "validate"}, "^evaluate-a has the scores of split 'validate', which calibrated the model; the gate"),
        (
            {"decoding": "generate.num_beams=4"},
            r"^evaluate-a was decoded with generate\.num_beams=4, this run has .*=1",
        ),
    ],
)
def test_a_model_is_not_registered_with_scores_of_another_split_or_decoding(
    store_with_registry: Store, config: TrrgConfig, notes: dict[str, str], reason: str
):
    store = store_with_registry
    inputs = write_model(store, "a", STUDIES.table(BASE))
    scores = read_result(store, inputs["scores"])
    assert scores is not None
    write_result(store, replace(scores, notes=notes))
    with pytest.raises(ConfigError, match=reason):
        register.run(config, store, inputs)
    assert aliases(store, config) == {}


def test_a_model_below_a_floor_stays_challenger_and_the_card_says_why(store_with_registry: Store, config: TrrgConfig):
    store = store_with_registry
    table = STUDIES.table(BASE)
    table = replace(table, counts={**table.counts, System.NEAREST_NEIGHBOUR: table.counts[System.MODEL]})
    result = register.run(config, store, write_model(store, "a", table))
    assert (result.counts["promoted"], result.notes["alias"]) == (0.0, CHALLENGER)
    assert aliases(store, config) == {CHALLENGER: "1"}
    assert result.notes["reasons"].startswith("fail: trrg13.micro.f1.u0 against the nearest neighbour is +0.000")
    assert f"- {result.notes['reasons']}" in Path(result.notes["card"]).read_text("utf-8")


def test_a_champion_with_outcomes_of_the_same_studies_is_not_scored_again(
    store_with_registry: Store, config: TrrgConfig, monkeypatch: pytest.MonkeyPatch
):
    store = store_with_registry
    register.run(config, store, write_model(store, "a", STUDIES.table(BASE)))
    monkeypatch.setattr(register, "_rescore", lambda *_: pytest.fail("scored again"))
    result = register.run(config, store, write_model(store, "b", STUDIES.table(better(0.15, 2))))
    assert result.counts["promoted"] == 1.0
    assert record(store, result.ref)["compared_with"] == [
        {"role": "champion", "model": "models:/trrg/1", "scores": "evaluate-a", "rescored": False}
    ]
    assert aliases(store, config) == {CHALLENGER: "2", CHAMPION: "2", BEST_CHAMPION: "2"}


def test_of_two_registrations_at_once_the_second_is_compared_with_the_first(
    store_with_registry: Store, config: TrrgConfig
):
    store = store_with_registry
    register.run(config, store, write_model(store, "a", STUDIES.table(BASE)))
    good, best = (
        write_model(store, name, STUDIES.table(better(gain, seed)))
        for name, gain, seed in (("b", 0.15, 2), ("c", 0.3, 3))
    )
    together = Barrier(4)

    def run(inputs: dict[str, str]) -> JobResult:
        together.wait()
        return register.run(config, store, inputs)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(run, (good, best, good, best)))
    assert sorted(result.reused for result in results) == [False, False, True, True], "each is decided once"
    with open_registry(store, config.register_) as models:
        champion = models.at(CHAMPION)
    assert champion is not None
    assert champion.generator == best["generator"], "whichever came first"
    moves = list_moves(store)
    assert [move.before for move in moves] == ["", *(move.after for move in moves[:-1])]
    compared = {record(store, result.ref)["compared_with"][0]["model"] for result in results}
    assert compared == {"models:/trrg/1", "models:/trrg/2"}, "both were compared with the champion of before"


def test_a_champion_of_other_studies_is_scored_again_on_those_of_the_challenger(
    store_with_registry: Store, config: TrrgConfig, monkeypatch: pytest.MonkeyPatch
):
    store = store_with_registry
    old = replace(STUDIES.table(BASE), basis=Basis(test="older", section="findings", labeler="x", rules="invented"))
    register.run(config, store, write_model(store, "a", old))
    asked = []

    def rescore(_config: TrrgConfig, _store: Store, inputs: dict[str, str], generator: str) -> str:
        asked.append((inputs["shards"], generator))
        return write_model(store, "a-again", STUDIES.alone(BASE))["scores"]

    monkeypatch.setattr(register, "_rescore", rescore)
    result = register.run(config, store, write_model(store, "b", STUDIES.table(better(0.15, 2))))
    assert asked == [("shards@0", "finetune-a")]
    assert result.counts["promoted"] == 1.0
    (compared,) = record(store, result.ref)["compared_with"]
    assert (compared["scores"], compared["rescored"]) == ("evaluate-a-again", True)


def test_a_champion_whose_outcomes_were_changed_by_hand_is_scored_again(
    store_with_registry: Store, config: TrrgConfig, monkeypatch: pytest.MonkeyPatch
):
    store = store_with_registry
    champion = STUDIES.table(better(0.15, 2))
    register.run(config, store, write_model(store, "a", champion))
    worse = {**champion.counts, System.MODEL: champion.counts[System.EMPTY_REPORT]}
    store.write_bytes(f"{run_path('evaluate-a')}/{OUTCOMES_FILE}", outcomes_to_bytes(replace(champion, counts=worse)))
    again = write_model(store, "a-again", champion)["scores"]
    monkeypatch.setattr(register, "_rescore", lambda *_: again)
    result = register.run(config, store, write_model(store, "b", STUDIES.table(BASE)))
    assert result.counts["promoted"] == 0.0
    assert result.notes["reasons"].startswith("fail: trrg13.micro.f1.u0 against the champion models:/trrg/1 is -0.1")


def test_a_champion_that_cannot_be_scored_again_refuses_the_challenger_with_the_reason(
    store_with_registry: Store, config: TrrgConfig, monkeypatch: pytest.MonkeyPatch
):
    store = store_with_registry
    old = replace(STUDIES.table(BASE), basis=Basis(test="older", section="findings", labeler="x", rules="invented"))
    register.run(config, store, write_model(store, "a", old))

    def refuse(*_: object) -> str:
        raise DataError("no_studies", "shards@0 has no studies of split 'test'")

    monkeypatch.setattr(register, "_rescore", refuse)
    result = register.run(config, store, write_model(store, "b", STUDIES.table(better(0.15, 2))))
    assert result.counts["promoted"] == 0.0
    assert result.notes["reasons"].endswith(
        "another test, labeler, and it could not be scored again: shards@0 has no studies of split 'test'"
    )
    # a run that is gone is named without trying
    store.delete(f"{run_path('finetune-a')}/result.json")
    result = register.run(config, store, write_model(store, "c", STUDIES.table(better(0.15, 3))))
    assert "its training run finetune-a is not in the store" in result.notes["reasons"]


def test_a_storage_error_is_no_refusal(store_with_registry: Store, config: TrrgConfig, monkeypatch: pytest.MonkeyPatch):
    store = store_with_registry
    old = replace(STUDIES.table(BASE), basis=Basis(test="older", section="findings", labeler="x", rules="invented"))
    register.run(config, store, write_model(store, "a", old))

    def fail(*_: object) -> str:
        raise StorageError("busy")

    monkeypatch.setattr(register, "_rescore", fail)
    with pytest.raises(StorageError, match="busy"):
        register.run(config, store, write_model(store, "b", STUDIES.table(better(0.15, 2))))
    assert aliases(store, config)[CHALLENGER] == "1"


def test_the_best_champion_stays_when_a_slightly_lower_model_is_promoted(
    store_with_registry: Store, config: TrrgConfig
):
    store = store_with_registry
    loose = load_config("tiny", [*SETTINGS, *(f"register.max_{name}_drop=1" for name in ("f1", "truth", "recall"))])
    register.run(loose, store, write_model(store, "a", STUDIES.table(better(0.05, 3))))
    lower = STUDIES.table(BASE)
    promoted = register.run(loose, store, write_model(store, "b", lower))
    assert promoted.counts["promoted"] == 1.0
    assert aliases(store, config) == {CHALLENGER: "2", CHAMPION: "2", BEST_CHAMPION: "1"}
    # the next one is compared with both, and the drop from the best decides
    result = register.run(config, store, write_model(store, "c", STUDIES.table(BASE)))
    failed = {row["name"] for row in record(store, result.ref)["checks"] if row["verdict"] == Verdict.FAIL}
    assert failed == {"best_champion.micro_f1"}


def test_a_person_can_promote_and_the_reason_is_in_the_record_the_tags_and_the_card(
    store_with_registry: Store, config: TrrgConfig
):
    store = store_with_registry
    table = STUDIES.table(BASE)
    bad = replace(table, counts={**table.counts, System.MODEL: table.counts[System.EMPTY_REPORT]})
    inputs = write_model(store, "a", bad)
    assert register.run(config, store, inputs).counts["promoted"] == 0.0
    reason = "a rehearsal of the service"
    given = load_config("tiny", [*SETTINGS, f'register.override="{reason}"'])
    result = register.run(given, store, inputs)
    assert (result.counts["promoted"], result.notes["ruling"]) == (1.0, Ruling.OVERRIDDEN)
    assert record(store, result.ref)["override"] == reason
    assert reason in Path(result.notes["card"]).read_text("utf-8")
    with open_registry(store, config.register_) as models:
        known = models.at(CHAMPION)
    assert known is not None
    # the same weights and decoding are one version, judged anew
    assert (known.version, known.tags["gate.override"]) == ("1", reason)
    assert known.tags["why"] == f"promoted by a person: {reason}"
    assert [(move.after, move.kind, move.reason) for move in list_moves(store)] == [("1", BY_PERSON, reason)]
    # what a person let through is no mark for others, nor is it when the next one is let through, too
    assert BEST_CHAMPION not in aliases(store, config)
    register.run(given, store, write_model(store, "b", bad))
    assert (aliases(store, config)[CHAMPION], BEST_CHAMPION in aliases(store, config)) == ("2", False)


def test_what_was_registered_and_promoted_and_deleted_by_hand_is_registered_again(
    store_with_registry: Store, config: TrrgConfig, caplog: pytest.LogCaptureFixture
):
    store = store_with_registry
    inputs = write_model(store, "a", STUDIES.table(BASE))
    register.run(config, store, inputs)
    with open_registry(store, config.register_) as models:
        models._client.delete_model_version("trrg", "1")
    assert aliases(store, config) == {}
    again = register.run(config, store, inputs)
    assert (again.reused, again.notes["model"], again.notes["alias"]) == (False, "models:/trrg/2", CHAMPION)
    assert aliases(store, config) == {CHALLENGER: "2", CHAMPION: "2", BEST_CHAMPION: "2"}
    assert "models:/trrg/1 is not in the registry any more and is registered again" in caplog.text
    assert register.run(config, store, inputs).reused
    # judged anew by other bounds, it is refused and stays champion, which is said
    strict = load_config("tiny", [*SETTINGS, "register.min_studies=401"])
    assert register.run(strict, store, inputs).counts["promoted"] == 0.0
    assert aliases(store, config)[CHAMPION] == "2"
    assert "models:/trrg/2 stays champion until `trrg rollback` or `trrg promote`" in caplog.text


def test_a_champion_that_was_deleted_by_hand_leaves_no_first_model(store_with_registry: Store, config: TrrgConfig):
    store = store_with_registry
    first, second = (
        write_model(store, name, STUDIES.table(better(0.15 * place, place + 2))) for place, name in enumerate("ab")
    )
    register.run(config, store, first)
    with open_registry(store, config.register_) as models:
        models._client.delete_registered_model("trrg")
    refused = register.run(config, store, second)
    assert (refused.counts["promoted"], aliases(store, config)) == (0.0, {CHALLENGER: "1"})
    assert refused.notes["reasons"] == (
        "fail: no version has the alias 'champion', though models:/trrg/1 was champion: restore the registry from a "
        "backup, or name a champion with `trrg promote VERSION --reason TEXT`; if there is to be none, say so with "
        "`trrg promote none --reason TEXT`, and register again"
    )
    # the new version has the number of the lost one, and is not it
    assert register.run(config, store, second).reused
    with open_registry(store, config.register_) as models:
        assert find_lost(store, models) == "models:/trrg/1"
    with pytest.raises(ConfigError, match="a reason is needed"):
        promote(store, config.register_, "none", " ")
    promote(store, config.register_, "none", "a new series of another scanner")
    again = register.run(config, store, second)
    assert (again.reused, again.counts["promoted"]) == (False, 1.0)
    assert "lost_champion" not in record(store, again.ref)
    with pytest.raises(ConfigError, match="models:/trrg/1 is the champion: promote another"):
        promote(store, config.register_, "none", "no more")
    assert [(move.before, move.after) for move in list_moves(store)] == [("", "1"), ("1", ""), ("", "1")]
    page = build_dashboard(store, config.register_)
    assert [(reign.model, reign.until_ms == 0) for reign in page.reigns] == [
        ("models:/trrg/1", True),
        ("models:/trrg/1", False),
    ]


def test_a_lost_champion_is_told_by_tags_and_registrations_where_its_moves_are_gone(
    store_with_registry: Store, config: TrrgConfig, empty_registry: bytes
):
    store = store_with_registry
    register.run(config, store, write_model(store, "a", STUDIES.table(BASE)))
    for path in store.list(MOVES):
        store.delete(path)

    def lost() -> str:
        with open_registry(store, config.register_) as models:
            return find_lost(store, models)

    def remove(alias: str) -> None:
        with open_registry(store, config.register_) as models:
            models.delete_alias(alias)

    assert lost() == "", "there is a champion"
    remove(CHAMPION)
    assert lost() == "models:/trrg/1", "by the alias of the best one"
    remove(BEST_CHAMPION)
    assert lost() == "models:/trrg/1", "by the tags of its version"
    store.write_bytes(REGISTRY_DATABASE, empty_registry)
    assert lost() == "models:/trrg/1", "by its registration"


def test_a_model_is_not_registered_with_the_findings_of_another_label_set(
    store_with_registry: Store, config: TrrgConfig
):
    store = store_with_registry
    inputs = write_model(store, "a", STUDIES.table(BASE))
    other = load_config("tiny", [*SETTINGS, "parse.label_set=nih14"])
    reason = r"^evaluate-a counts the findings Atelectasis, .* not those of label set 'nih14'"
    with pytest.raises(ConfigError, match=reason):
        register.run(other, store, inputs)
    for file in (SCORES_FILE, OUTCOMES_FILE):
        store.write_bytes(f"{run_path('evaluate-a')}/{file}", b"{")
        with pytest.raises(DataError, match=f"^runs/evaluate-a/{file} is damaged: no .* or remove runs/evaluate-a and"):
            register.run(config, store, inputs)
    assert aliases(store, config) == {}


def test_a_model_that_has_seen_the_test_studies_is_refused_and_is_no_champion_to_compare_with(
    store_with_registry: Store, config: TrrgConfig, monkeypatch: pytest.MonkeyPatch
):
    store = store_with_registry
    old = replace(STUDIES.table(BASE), basis=Basis(test="older", section="findings", labeler="x", rules="invented"))
    register.run(config, store, write_model(store, "a", old))
    for module in (seen_studies, rivals):
        monkeypatch.setattr(module, "count_seen", lambda *_, **__: 12)
    result = register.run(config, store, write_model(store, "b", STUDIES.table(better(0.15, 2))))
    assert result.notes["reasons"].splitlines() == [
        "fail: champion models:/trrg/1 cannot be compared on these studies: it was trained or calibrated on 12 of "
        "them, so that no comparison is fair",
        "fail: the number of test studies that the model was trained or calibrated on is 12; needed <= 0",
    ]
    # the shards of its training are gone
    monkeypatch.setattr(seen_studies, "count_seen", count_seen)
    inputs = write_model(store, "c", STUDIES.table(better(0.15, 2)))
    write_result(store, RunResult(run_id="finetune-c", job="finetune", inputs={"shards": "shards@9"}))
    assert (
        "was trained or calibrated on is unknown: no version shards@9"
        in register.run(config, store, inputs).notes["reasons"]
    )


def test_scores_without_outcomes_must_be_made_again(store_with_registry: Store, config: TrrgConfig):
    store = store_with_registry
    inputs = write_model(store, "a", STUDIES.table(BASE))
    store.delete(f"{run_path('evaluate-a')}/{OUTCOMES_FILE}")
    with pytest.raises(ConfigError, match="run `trrg evaluate` again"):
        register.run(config, store, inputs)


def test_an_interrupted_attempt_goes_on_with_its_decision(
    store_with_registry: Store, config: TrrgConfig, monkeypatch: pytest.MonkeyPatch
):
    store = store_with_registry
    inputs = write_model(store, "a", STUDIES.table(BASE))
    with monkeypatch.context() as broken:
        broken.setattr(register, "write_result", lambda *_: (_ for _ in ()).throw(StorageError("gone")))
        with pytest.raises(StorageError, match="gone"):
            register.run(config, store, inputs)
    assert aliases(store, config)[CHAMPION] == "1"
    result = register.run(config, store, inputs)
    # it was not compared with itself
    assert record(store, result.ref)["compared_with"] == []
    assert result.notes["model"] == "models:/trrg/1"


def test_an_interrupted_attempt_is_decided_anew_if_another_model_became_champion_meanwhile(
    store_with_registry: Store, config: TrrgConfig, monkeypatch: pytest.MonkeyPatch
):
    store = store_with_registry
    register.run(config, store, write_model(store, "a", STUDIES.table(BASE)))
    good, best = (
        write_model(store, name, STUDIES.table(better(gain, seed)))
        for name, gain, seed in (("b", 0.15, 2), ("c", 0.3, 3))
    )
    with monkeypatch.context() as broken:  # its version is made, no alias is set
        broken.setattr(register, "_set_aliases", lambda *_: (_ for _ in ()).throw(StorageError("killed")))
        with pytest.raises(StorageError, match="killed"):
            register.run(config, store, good)
    register.run(config, store, best)
    result = register.run(config, store, good)
    assert result.notes["model"] == "models:/trrg/2"
    assert [rival["model"] for rival in record(store, result.ref)["compared_with"]] == ["models:/trrg/3"]
    assert "fail: trrg13.micro.f1.u0 against the champion models:/trrg/3" in result.notes["reasons"]
    assert aliases(store, config) == {CHALLENGER: "2", CHAMPION: "3", BEST_CHAMPION: "3"}


def test_a_patient_who_is_withdrawn_before_or_during_the_registration_marks_the_model(
    store_with_registry: Store, config: TrrgConfig, monkeypatch: pytest.MonkeyPatch
):
    store, key = store_with_registry, WithdrawalKey(secret=b"an invented secret of a test")
    inputs = write_model(store, "a", STUDIES.table(BASE))
    write_result(store, RunResult(run_id="finetune-a", job="finetune", inputs={"contrastive": "pretrain-a"}))
    record = Withdrawal(patient="x", day="2026-01-02", learned={"pretrain-a": "trained"}, is_finished=True)
    evidence = register._evidence

    def interrupted(*given: Any) -> dict[str, str]:
        write_withdrawals(store, key, [record])
        return evidence(*given)

    with monkeypatch.context() as patch:
        patch.setattr(register, "_evidence", interrupted)
        with pytest.raises(DataError, match="a patient was withdrawn during the work of register-"):
            register.run(config, store, inputs)
    assert aliases(store, config) == {}
    result = register.run(config, store, inputs)
    assert "## Withdrawn patients" in Path(result.notes["card"]).read_text("utf-8")
    with open_registry(store, config.register_) as models:
        known = models.at(CHAMPION)
    assert known is not None
    assert known.tags["withdrawal.last"] == "2026-01-02"


def test_a_champion_that_changed_meanwhile_is_a_storage_error(
    store_with_registry: Store, config: TrrgConfig, monkeypatch: pytest.MonkeyPatch
):
    store = store_with_registry
    first, second = (
        write_model(store, name, STUDIES.table(better(0.15 * place, place + 2))) for place, name in enumerate("ab")
    )
    register.run(config, store, first)
    decide = register._decide
    with open_registry(store, config.register_) as models:
        models._client.delete_registered_model_alias("trrg", CHAMPION)
        models._client.delete_registered_model_alias("trrg", BEST_CHAMPION)

    def slow(*arguments: object) -> object:
        monkeypatch.setattr(register, "_decide", decide)
        with open_registry(store, config.register_) as models:  # by hand, past the lock
            models.set_alias(CHAMPION, "1")
            models.set_alias(BEST_CHAMPION, "1")
        return register._decide(*arguments)

    monkeypatch.setattr(register, "_decide", slow)
    with pytest.raises(StorageError, match="the champion changed"):
        register.run(config, store, second)
    again = register.run(config, store, second)
    assert again.counts["promoted"] == 1.0
    assert [rival["model"] for rival in record(store, again.ref)["compared_with"]] == ["models:/trrg/1"]


def test_outcomes_on_file_are_those_that_were_written(store_with_registry: Store):
    inputs = write_model(store_with_registry, "a", STUDIES.table(BASE))
    data = store_with_registry.read_bytes(f"{run_path(inputs['scores'])}/{OUTCOMES_FILE}")
    assert outcomes_from_bytes(data).basis == STUDIES.table(BASE).basis


def test_a_champion_whose_reports_are_gone_does_not_stop_the_decision(
    store_with_registry: Store, config: TrrgConfig, caplog: pytest.LogCaptureFixture
):
    store = store_with_registry
    first, second = (
        write_model(store, name, STUDIES.table(better(0.15 * place, place + 2))) for place, name in enumerate("ab")
    )
    for inputs in (first, second):
        store.write_bytes(f"{run_path(inputs['scores'])}/report.html", b"<!-- gate --><!-- champion of 31 -->")
    register.run(config, store, first)
    caplog.clear()
    result = register.run(config, store, second)
    assert result.counts["promoted"] == 1.0
    page = Path(result.notes["report"]).read_text("utf-8")
    assert "Gate: promoted" in page
    assert "<!-- champion of 31 -->" in page
    assert "the champion models:/trrg/1 is not shown beside the model" in caplog.text


def test_a_page_without_a_place_for_the_gate_stays_as_it_is(store_with_registry: Store, config: TrrgConfig):
    store = store_with_registry
    result = register.run(config, store, write_model(store, "a", STUDIES.table(BASE)))
    decision = decision_from_bytes(Path(result.notes["decision"]).read_bytes())
    assert insert_decision("<p>old</p>", decision) == "<p>old</p>"
    assert "report" not in result.notes


def write_config(store: Store, name: str, *settings: str) -> None:
    """The configuration in the model folder of generator run `name`."""
    described = {"trrg": load_config("tiny", list(settings)).model_dump(mode="json")}
    store.write_bytes(f"{run_path(f'finetune-{name}')}/model/config.json", json.dumps(described).encode())


def test_a_change_outside_the_declared_plan_is_refused_and_its_hash_recorded(
    store_with_registry: Store, config: TrrgConfig, monkeypatch: pytest.MonkeyPatch
):
    store = store_with_registry
    monkeypatch.setattr(planned_changes, "input_content", lambda _store, ref: ref)
    plan = b"name: nightly\nmay_change: [seed]\ncriteria: {min_studies: 100}\n"
    store.write_bytes("change_plan.yaml", plan)
    first = write_model(store, "a", STUDIES.table(BASE))
    write_config(store, "a")
    assert register.run(config, store, first).counts["promoted"] == 1.0
    table = STUDIES.table(better(0.15, 2))
    for name, settings, reason in (
        ("b", ("finetune.epochs=99", "seed=8"), "changes outside the plan: finetune.epochs"),
        ("o", ("finetune.clues=oracle",), "its clues are the labels of the reports (finetune.clues=oracle)"),
        ("c", None, "the configuration of finetune-c is not in the store"),
    ):
        inputs = write_model(store, name, table)
        if settings is not None:
            write_config(store, name, *settings)
        result = register.run(config, store, inputs)
        assert (result.counts["promoted"], reason in result.notes["reasons"]) == (0.0, True)
    loose = load_config("tiny", [*SETTINGS, "register.min_studies=9"])
    inputs = write_model(store, "d", table)
    write_config(store, "d", "seed=8")
    assert "min_studies is 9, agreed 100" in register.run(loose, store, inputs).notes["reasons"]
    kept = register.run(config, store, inputs)
    assert kept.counts["promoted"] == 1.0
    assert record(store, kept.ref)["change_plan"] == {
        "name": "nightly",
        "sha256": hashlib.sha256(plan).hexdigest(),
    }
    # another plan is another decision
    store.write_bytes("change_plan.yaml", plan + b"# reviewed again\n")
    assert register.run(config, store, inputs).ref != kept.ref
