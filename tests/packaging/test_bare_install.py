"""The wheel with its base dependencies only, in a fresh environment: what works without any extra."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.core.toy_versions import NO, YES, write_chain
from trrg_core.extras import PACKAGES_OF_EXTRA
from trrg_core.storage.store import open_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).parent / "uv"
NO_NETWORK = re.compile(r"Failed to fetch|error sending request|dns error|timed out", re.IGNORECASE)
STUDIES = {
    "1": ("train", {"Edema": YES}),
    "2": ("train", {"Edema": NO}),
    "3": ("train", {"Pneumonia": YES}),
    "4": ("test", {"Pneumonia": YES}),
}


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment with the wheel and its base dependencies, at the tested versions."""
    if not UV.exists():
        pytest.skip("no uv in this environment to install the wheel with")
    folder = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    command = [UV, "pip", "install", "--quiet", "--python", folder / "bin" / "python"]
    installed = subprocess.run(
        [*command, "--constraints", ROOT / "constraints.txt", wheel], capture_output=True, text=True, timeout=800
    )
    if installed.returncode != 0 and NO_NETWORK.search(installed.stderr):
        pytest.skip("the package registry cannot be reached")
    assert installed.returncode == 0, installed.stderr[-3000:]
    return folder / "bin"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small store, written with the full environment: two versions of studies, reports and shards."""
    store = open_store(str(tmp_path_factory.mktemp("store")))
    write_chain(store, STUDIES, run="a")
    write_chain(store, {**STUDIES, "2": ("train", {"Edema": YES})}, run="b")
    return store.uri


LINE = json.dumps({"id": "1", "text": "No pleural effusion. Possible pneumonia."})
READING = {
    "show": ["show"],
    "history": ["history", "reports"],
    "rejects": ["rejects"],
    "diff": ["diff", "reports@0", "reports@1"],
    "drift": ["drift", "shards@0", "shards@1"],
    "gc": ["gc"],
    "view": ["view", "shards@1"],
    "sql": ["sql", "SELECT observation, label FROM labels"],
    "export": ["export", "studies@1", "exported", "--format", "webdataset"],
    "check": ["check"],
}
LACKING = {
    "finetune": (["finetune", "--input", "shards=shards@1", "--input", "contrastive=pretrain-0"], "train"),
    "up": (["up"], "flows"),
}
CALLS = """
import contextlib, io, json, sys
import flows.cli

for words, stdin in json.load(sys.stdin):
    sys.argv, sys.stdin = ["trrg", *words], io.TextIOWrapper(io.BytesIO(stdin.encode()), "utf-8")
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            flows.cli.main()
        except SystemExit as end:
            code = end.code or 0
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""


class Outcome(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands run: a specification of a slice, and two files of reports."""
    folder = tmp_path_factory.mktemp("cwd")
    (folder / "spec.yaml").write_text("name: bare\nmax_repeats: 2\n")
    for name, text in (("predictions", "no edema ."), ("references", "edema .")):
        (folder / f"{name}.json").write_text(json.dumps({"1": [text], "2": ["no effusion ."]}))
    return folder


@pytest.fixture(scope="module")
def outcomes(bare: Path, store: str, folder: Path) -> dict[str, Outcome]:
    """How each command ended, all in one process: each by itself would import Arrow and DuckDB anew."""
    of_store = ["--store", store]
    commands = {
        "parse-text": ["parse-text"],
        "explain": ["explain", LINE],
        "labels": ["labels", "shards@1", *of_store, "--png", "labels.png"],
        "reslice": ["reslice", "spec.yaml", *of_store, "--json"],
        "labels of the slice": ["labels", "slices@0", *of_store],
        "check of no store": ["check", "--store", "no-store"],
        "config": ["config"],
        "score": ["score", "predictions.json", "references.json", "--json"],
        "s3": ["show", "--store", "s3://bucket/store"],
        **{name: [*words, *of_store] for name, words in READING.items()},
        **{name: [*words, *of_store] for name, (words, _) in LACKING.items()},
    }
    given = [(words, LINE if name == "parse-text" else "") for name, words in commands.items()]
    printed = _passed(bare / "python", "-c", CALLS, cwd=folder, stdin=json.dumps(given))
    ended = [Outcome(*json.loads(line)) for line in printed.splitlines()]
    return dict(zip(commands, ended, strict=True))


def _ended_well(outcome: Outcome) -> str:
    assert outcome.code == 0, outcome.stderr
    return outcome.stdout


def _run(*words: str | Path, cwd: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    quiet = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(words, input=stdin, capture_output=True, text=True, cwd=cwd, env=env | quiet, timeout=300)


def _passed(*words: str | Path, cwd: Path, stdin: str = "") -> str:
    result = _run(*words, cwd=cwd, stdin=stdin)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_no_package_of_an_extra_is_installed(bare: Path, tmp_path: Path) -> None:
    names = sorted({name for packages in PACKAGES_OF_EXTRA.values() for name in packages})
    assert {"torch", "ray", "deepspeed", "prefect", "mlflow", "spacy"} <= set(names)
    code = f"from importlib.util import find_spec; print([name for name in {names!r} if find_spec(name)])"
    assert _passed(bare / "python", "-c", code, cwd=tmp_path).strip() == "[]"


def test_every_module_imports_or_names_a_package_of_an_extra(bare: Path, tmp_path: Path) -> None:
    code = (
        "import importlib, json, pkgutil, trrg_core, pipelines, flows\n"
        "missing = {}\n"
        "for package in (trrg_core, pipelines, flows):\n"
        "    for module in pkgutil.iter_modules(package.__path__, f'{package.__name__}.'):\n"
        "        names = [module.name]\n"
        "        while names:\n"
        "            name = names.pop()\n"
        "            try:\n"
        "                here = importlib.import_module(name)\n"
        "            except ModuleNotFoundError as error:\n"
        "                missing[name] = error.name.partition('.')[0]\n"
        "                continue\n"
        "            below = pkgutil.iter_modules(getattr(here, '__path__', []), f'{name}.')\n"
        "            names += [one.name for one in below if not one.name.endswith('__main__')]\n"
        "print(json.dumps(missing))\n"
    )
    missing = json.loads(_passed(bare / "python", "-c", code, cwd=tmp_path))
    assert set(missing.values()) <= {name for packages in PACKAGES_OF_EXTRA.values() for name in packages}
    light = ("report", "slicing", "label_stats", "metrics", "registry", "tables", "storage", "pages", "config", "runs")
    heavy = {name for name in missing if name.startswith(tuple(f"trrg_core.{part}." for part in light))}
    # the row codec of shards decodes images; these pages show what a model sees and writes
    of_models = {"film_budget", "seen_studies", "written_page", "serving_pages"}
    assert heavy <= {"trrg_core.tables.rows.shard_row"} | {f"trrg_core.pages.{name}" for name in of_models}


def test_reports_are_parsed_and_explained(outcomes: dict[str, Outcome]) -> None:
    parsed = json.loads(_ended_well(outcomes["parse-text"]))
    assert parsed["labels"]["Pleural Effusion"] == 0
    assert parsed["labels"]["Pneumonia"] == -1
    assert "pneumonia" in _ended_well(outcomes["explain"])


def test_labels_are_counted_and_drawn(outcomes: dict[str, Outcome], folder: Path) -> None:
    assert "Edema" in _ended_well(outcomes["labels"])
    assert (folder / "labels.png").stat().st_size > 1000


def test_a_slice_is_compiled_and_its_labels_are_counted(outcomes: dict[str, Outcome]) -> None:
    result = json.loads(_ended_well(outcomes["reslice"]).splitlines()[-1])
    assert result["ref"] == "slices@0"
    assert "Edema" in _ended_well(outcomes["labels of the slice"])


@pytest.mark.parametrize("verb", READING)
def test_the_verbs_that_read_a_store_work(outcomes: dict[str, Outcome], verb: str) -> None:
    assert _ended_well(outcomes[verb])


def test_the_check_names_the_extras_that_are_not_installed(outcomes: dict[str, Outcome]) -> None:
    lines = _ended_well(outcomes["check of no store"]).splitlines()
    for extra in PACKAGES_OF_EXTRA:
        assert f"ok   extra {extra}: not installed; to add it: pip install 'trrg[{extra}]'" in lines


def test_the_configuration_and_the_version_are_printed(
    outcomes: dict[str, Outcome], bare: Path, tmp_path: Path
) -> None:
    assert "finetune" in _ended_well(outcomes["config"])
    assert re.fullmatch(r"trrg \d+\.\d+\.\d+\n", _passed(bare / "trrg", "--version", cwd=tmp_path))


def test_reports_are_scored(bare: Path, tmp_path: Path) -> None:
    code = (
        "from trrg_core.labels import load_label_set\n"
        "from trrg_core.metrics.clinical import score_observations\n"
        "from trrg_core.metrics.nlg import score_nlg\n"
        "from trrg_core.report.parser import ReportParser\n"
        "references, hypotheses = ['There is edema.', 'No edema.'], ['There is edema.', 'There is edema.']\n"
        "parser, names = ReportParser(), load_label_set('chexpert14').observations\n"
        "labels = [[parser.parse(text).labels for text in texts] for texts in (references, hypotheses)]\n"
        "edema = {score.observation: score for score in score_observations(*labels, observations=names)}['Edema']\n"
        "assert (edema.precision, edema.recall) == (0.5, 1.0), edema\n"
        "scores = score_nlg(references, hypotheses, protocol='full').values\n"
        "assert 0.5 < scores['bleu1.full'] < 1, scores\n"
    )
    _passed(bare / "python", "-c", code, cwd=tmp_path)


def test_files_of_reports_are_scored(outcomes: dict[str, Outcome]) -> None:
    printed = json.loads(_ended_well(outcomes["score"]))
    assert printed["metrics"]["bleu1.raw"]["value"] == pytest.approx(5 / 6)
    assert {"meteor.full", "rougeL.raw", "trrg13.micro.f1.u0"} <= set(printed["metrics"])


def test_a_run_without_its_extra_ends_with_one_line(bare: Path, store: str, tmp_path: Path) -> None:
    result = _run(bare / "trrg", "run", "--source-root", ".", "--store", store, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr == "error: trrg run needs the extra 'flows': pip install 'trrg[flows]'\n"


@pytest.mark.parametrize(("verb", "extra"), [(verb, extra) for verb, (_, extra) in LACKING.items()])
def test_a_verb_without_its_extra_ends_with_one_line(outcomes: dict[str, Outcome], verb: str, extra: str) -> None:
    assert outcomes[verb].code == 2
    assert outcomes[verb].stderr == f"error: trrg {verb} needs the extra '{extra}': pip install 'trrg[{extra}]'\n"


def test_an_s3_store_without_its_extra_ends_with_one_line(outcomes: dict[str, Outcome]) -> None:
    assert outcomes["s3"].code == 2
    assert outcomes["s3"].stderr == "error: an s3:// store needs the extra 's3': pip install 'trrg[s3]'\n"
