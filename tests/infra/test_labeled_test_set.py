"""The score of labelers against labels by people: by hand arithmetic, order of studies, and what is missing."""

import csv
from pathlib import Path

import pytest

from infra.bench.labeled_test_set import main, normal, score
from trrg_core.report.chexbert import COLUMNS


def write(path: Path, rows: list[dict[str, str]], fields: tuple[str, ...]) -> str:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fields, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def test_f1_is_that_of_hand_arithmetic() -> None:
    gold = {"1": normal({"Edema": "1.0", "Airspace Opacity": "1"}), "2": normal({"Edema": "1"}), "3": normal({})}
    rows = {"1": normal({"Edema": "1", "Lung Opacity": "1"}), "2": normal({}), "3": normal({"Edema": "1"})}
    # edema: 1 right, 1 false, 1 missed; opacity: 1 right
    assert score(gold, rows, "1") == (pytest.approx((0.5 + 1) / 2), pytest.approx(4 / 6))
    assert score(gold, rows, "-1") == (0.0, 0.0)


def test_rows_follow_the_order_of_studies_and_missing_ones_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gold = write(tmp_path / "gold.csv", [{"study_id": "2", "Edema": "1"}], ("study_id", *COLUMNS))
    studies = write(tmp_path / "studies.csv", [{"study_id": "1"}, {"study_id": "2"}], ("study_id",))
    labels = write(
        tmp_path / "ours.csv", [{}, {"Edema": "1", "Report Impression": "x"}], ("Report Impression", *COLUMNS)
    )
    assert main([gold, f"ours={labels}", "--studies", studies]) == 0
    assert "1.000 / 1.000" in capsys.readouterr().out
    short = write(tmp_path / "short.csv", [{"study_id": "1"}, {"study_id": "3"}], ("study_id",))
    assert main([gold, f"ours={labels}", "--studies", short]) == 1
    assert "1 labelled studies have no row" in capsys.readouterr().out
