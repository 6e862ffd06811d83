"""Each example runs and prints what it promises; those that train are in `test_tutorial.py`."""

import ast
import csv
from pathlib import Path

import pytest

from tests.examples.run_example import ROOT, run_example

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
TESTED = {"parse_reports", "score_predictions", "invent_export", "ingest_your_export"}
TRAINING = {"reslice_and_retrain", "load_champion"}


def test_every_example_is_run_by_a_test() -> None:
    assert {path.stem for path in EXAMPLES} == TESTED | TRAINING


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_shows_how_it_is_called(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.isascii()
    assert len(text.splitlines()) <= 80
    assert f"python examples/{path.name}" in (ast.get_docstring(ast.parse(text)) or "")


@pytest.mark.parametrize("name", sorted(TRAINING))
def test_an_example_imports_what_exists(name: str, tmp_path: Path) -> None:
    assert "show this help message" in run_example(name, "--help", cwd=tmp_path)


def test_parse_reports_prints_mentions_and_labels(tmp_path: Path) -> None:
    (tmp_path / "report.txt").write_text("FINDINGS: No pleural effusion. Possible pneumonia.\n")
    printed = run_example("parse_reports", "report.txt", "--text", "Mild cardiomegaly.", cwd=tmp_path)
    assert 'ABSENT    pleural_effusion (cue "no")' in printed
    assert "Pneumonia UNCERTAIN" in printed
    assert "Cardiomegaly POSITIVE" in printed


def test_score_predictions_scores_any_table(tmp_path: Path) -> None:
    rows = [
        ("p1", "s1", "There is edema. No effusion.", "There is edema."),
        ("p2", "s2", "No pneumothorax.", "There is a pneumothorax."),
    ]
    with (tmp_path / "system.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["subject_id", "study_id", "reference", "hypothesis"])
        writer.writerows(rows)
    printed = run_example("score_predictions", "system.csv", "--resamples", "20", cwd=tmp_path)
    assert printed.startswith("system: 2 studies of 2 patients, section findings")
    lines = [line.split() for line in printed.splitlines()[1:]]
    scores = {words[1]: float(words[0]) for words in lines if words[0] != "-"}
    # one positive right, one that the reference denies; No Finding of the second reference is missed
    assert scores["trrg5.micro.f1.u0"] == 1.0
    assert scores["trrg14.micro.precision.u0"] == 0.5
    assert "meteor.full: not requested" in printed


def test_invent_export_writes_one_row_per_radiograph(tmp_path: Path) -> None:
    printed = run_example("invent_export", "--studies", "6", "my-export", cwd=tmp_path)
    with (tmp_path / "my-export" / "export.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert f"{len(rows)} radiographs of 6 studies" in printed
    assert len({row["AccessionNumber"] for row in rows}) == 6
    assert {row["ImageFile"] for row in rows} == {path.name for path in (tmp_path / "my-export/images").iterdir()}


@pytest.mark.ray
def test_ingest_your_export_counts_studies_and_labels(tmp_path: Path) -> None:
    run_example("invent_export", "--studies", "20", "my-export", cwd=tmp_path)
    (tmp_path / "export.yaml").write_text(tutorial_settings())
    printed = run_example("ingest_your_export", "--settings", "export.yaml", cwd=tmp_path)
    assert "studies@0: 20 studies" in printed
    assert "reports@0: positive labels" in printed


def tutorial_settings() -> str:
    """The settings file that the tutorial shows."""
    from tests.docs.pages import code_blocks

    (settings,) = code_blocks(ROOT / "docs" / "tutorial.md", "yaml")
    return settings
