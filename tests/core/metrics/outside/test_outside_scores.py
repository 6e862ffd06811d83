"""Programs that stand for outside metrics: small scripts, and a RadEval that counts words."""

import stat
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from trrg_core.errors import ConfigError
from trrg_core.metrics.bootstrap import draw_weights
from trrg_core.metrics.outside.known_metrics import KNOWN
from trrg_core.metrics.outside.outside_scores import OutsideScores, score_outside
from trrg_core.metrics.outside.outside_settings import OutsideMetric, OutsideSettings
from trrg_core.metrics.report_files.report_file import ReportFile
from trrg_core.metrics.report_files.report_pairs import pair_reports

PAIRS = pair_reports(
    ReportFile(path="p", texts={"1": "a b", "2": "a", "3": "secret"}),
    ReportFile(path="r", texts={"1": "a b", "2": "b", "3": "secret"}),
)
WEIGHTS = draw_weights(PAIRS.subject_ids, num_samples=50, seed=1)
# equal texts score 1
EQUAL = """
scores = {pair["id"]: float(pair["reference"] == pair["hypothesis"]) for pair in pairs}
result = {"scores": {"score": {"per_report": scores}}}
"""


def program(folder: Path, body: str) -> tuple[str, ...]:
    (folder / "program.py").write_text(
        "import json, os, sys, time\n"
        "pairs = json.load(open(sys.argv[-2]))['pairs']\n"
        f"{body}\n"
        "json.dump(result, open(sys.argv[-1], 'w'))\n"
    )
    return (sys.executable, str(folder / "program.py"))


def score(name: str, **settings: object) -> OutsideScores:
    return score_outside(PAIRS, OutsideSettings(metrics={name: OutsideMetric(**settings)}), WEIGHTS)


def test_scores_of_reports_are_averaged_with_an_interval(tmp_path: Path) -> None:
    one = score("mine", command=program(tmp_path, EQUAL)).scores["mine.score"]
    assert one.value == pytest.approx(2 / 3)
    assert one.n == 3
    assert one.low is not None
    assert one.low < one.value < one.high


def test_reports_without_a_score_are_left_out_and_not_counted(tmp_path: Path) -> None:
    body = "result = {'scores': {'score': {'per_report': {'1': 1, '2': None}}}}"
    one = score("mine", command=program(tmp_path, body)).scores["mine.score"]
    assert (one.value, one.n) == (1, 1)


def test_a_total_has_no_interval(tmp_path: Path) -> None:
    body = "result = {'scores': {'chexbert_f1': {'value': 0.5}, 'chexbert': {'value': 1}, 'x': {'value': 2}}}"
    scores = score("chexbert", command=program(tmp_path, body)).scores
    assert {name: one.value for name, one in scores.items()} == {"chexbert_f1": 0.5, "chexbert": 1, "chexbert.x": 2}
    assert {(one.low, one.high, one.n) for one in scores.values()} == {(None, None, 3)}


def test_every_known_metric_without_a_program_says_what_it_needs() -> None:
    absent = score_outside(PAIRS, OutsideSettings(), WEIGHTS).absent
    assert set(absent) == set(KNOWN) == {
        "chexbert", "radgraph", "ratescore", "green", "bertscore", "radcliq", "crimson",
    }  # fmt: skip
    assert "14 GB" in absent["green"]
    assert "crimson-score" in absent["crimson"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("sys.exit(3)", "ended with status 3; name a `log` to see its messages"),
        ("sys.exit(0)", "wrote no file of scores"),
        ("open(sys.argv[-1], 'w').write('secret {'); sys.exit(0)", "is not JSON"),
        ("result = [1]", 'wrote no object "scores"'),
        ("result = {'scores': {'s': 1}}", "wrote no object for 's'"),
        ("result = {'scores': {'s': {'value': None}}}", "'s' that is no finite number"),
        ("result = {'scores': {'s': {'value': float('nan')}}}", "'s' that is no finite number"),
        ("result = {'scores': {'s': {'per_report': {'9': 1}}}}", "of 1 ids that it was not given"),
        ("result = {'scores': {'s': {'per_report': {}}}}", "'s' of no report"),
        ("raise ValueError('secret')", "ended with status 1"),
    ],
)
def test_a_program_that_fails_is_absent_with_its_reason(body: str, reason: str, tmp_path: Path) -> None:
    scored = score("radgraph", command=program(tmp_path, body))
    assert scored.scores == {}
    assert reason in scored.absent["radgraph"]
    assert scored.absent["radgraph"].endswith("it needs the package RadEval and the weights of RadGraph")
    assert "secret" not in scored.absent["radgraph"]


def test_a_program_that_is_not_there_is_named() -> None:
    scored = score("green", python="/nowhere/bin/python")
    assert "/nowhere/bin/python cannot be run or written: No such file" in scored.absent["green"]
    assert "a GPU" in scored.absent["green"]


def test_a_program_that_hangs_is_stopped_with_what_it_started(tmp_path: Path) -> None:
    body = "import subprocess; subprocess.Popen(['sleep', '60']); open('%s', 'w'); time.sleep(60)" % (tmp_path / "on")
    started = time.monotonic()
    scored = score("mine", command=program(tmp_path, body), timeout_s=1)
    assert time.monotonic() - started < 30
    assert scored.absent["mine"] == "its program ran longer than 1 s and was stopped"


@pytest.mark.parametrize("name", ["1/radcliq", "radcliq_inverse", "inv_radcliq", "reciprocal"])
def test_the_inverse_of_radcliq_is_refused(name: str, tmp_path: Path) -> None:
    body = f"result = {{'scores': {{{name!r}: {{'value': 1.2}}}}}}"
    scored = score("radcliq", command=program(tmp_path, body))
    assert scored.scores == {}
    assert "never its inverse" in scored.absent["radcliq"]


def test_a_program_sees_little_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_TOKEN", "ALLOWED"):
        monkeypatch.setenv(name, "1")
    seen = "['API_TOKEN', 'ALLOWED', 'HF_HUB_OFFLINE', 'TRRG_JUDGE_ENDPOINT']"
    body = f"result = {{'scores': {{name: {{'value': float(name in os.environ)}} for name in {seen}}}}}"
    settings = {"command": program(tmp_path, body), "environment": ("ALLOWED",)}
    found = {name: one.value for name, one in score("m", **settings).scores.items()}
    assert found == {"m.API_TOKEN": 0, "m.ALLOWED": 1, "m.HF_HUB_OFFLINE": 1, "m.TRRG_JUDGE_ENDPOINT": 0}
    local = score("m", endpoint="http://localhost:1", **settings)
    assert local.scores["m.TRRG_JUDGE_ENDPOINT"].value == 1


def test_an_endpoint_that_may_not_be_used_stops_all_before_a_program_runs(tmp_path: Path) -> None:
    body = f"open({str(tmp_path / 'ran')!r}, 'w'); result = {{}}"
    with pytest.raises(ConfigError, match="outside this machine"):
        score("green", command=program(tmp_path, body), endpoint="https://judge.example")
    assert not (tmp_path / "ran").exists()


def test_messages_go_into_the_log_that_is_named(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    scored = score("mine", command=program(tmp_path, "print('hello'); sys.exit(1)"), log=str(log))
    assert scored.absent["mine"] == f"its program ended with status 1; its messages are in {log}"
    assert "hello" in log.read_text()


def test_the_adapter_runs_a_metric_of_radeval_in_its_own_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    # an invented RadEval: its RadGraph is the share of equal texts
    (tmp_path / "RadEval.py").write_text(
        "class RadEval:\n"
        "    def __init__(self, **flags):\n"
        "        assert flags == {'do_radgraph': True}\n"
        "    def __call__(self, refs, hyps):\n"
        "        share = sum(a == b for a, b in zip(refs, hyps)) / len(refs)\n"
        "        return {'radgraph_partial': share, 'details': [1], 'flag': True}\n"
    )
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    scored = score("radgraph", python=str(python))
    assert {name: one.value for name, one in scored.scores.items()} == {"radgraph_partial": pytest.approx(2 / 3)}
    # the file with the texts is gone
    assert list((tmp_path / "temporary").iterdir()) == []


def test_without_resamples_there_is_no_interval(tmp_path: Path) -> None:
    settings = OutsideSettings(metrics={"mine": OutsideMetric(command=program(tmp_path, EQUAL))})
    one = score_outside(PAIRS, settings, np.zeros((0, 3))).scores["mine.score"]
    assert (one.low, one.high) == (None, None)
