"""`trrg score` and `trrg compare` on files, in this process."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flows.cli import app
from flows.render.report_scores import is_tokenised
from tests.real_data import REAL_DATA
from trrg_core.errors import ConfigError, DataError

REFERENCES = {"1": "Small left pleural effusion.", "2": "No pneumothorax.", "3": "The heart is normal."}
PREDICTIONS = {"1": "Left pleural effusion.", "2": "No pneumothorax.", "3": "Cardiomegaly."}


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words), catch_exceptions=False)


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    for name, texts in (("p", PREDICTIONS), ("r", REFERENCES)):
        (tmp_path / f"{name}.json").write_text(json.dumps({key: [text] for key, text in texts.items()}))
    return str(tmp_path / "p.json"), str(tmp_path / "r.json")


def test_json_has_metrics_with_intervals_and_what_was_paired(files: tuple[str, str]) -> None:
    printed = json.loads(run("score", *files, "--no-meteor", "--json", "--resamples", "20").stdout)
    assert printed["metrics"]["trrg.pleural_effusion.recall.u0"]["value"] == 1
    assert printed["metrics"]["rougeL.raw"]["n"] == 3
    assert printed["absent"]["meteor.raw"] == "not requested"
    assert printed["pairs"]["num_pairs"] == 3
    assert printed["files"] == list(files)


def test_the_table_names_the_floor_and_says_how_to_see_more(files: tuple[str, str]) -> None:
    printed = run("score", *files, "--no-meteor", "--resamples", "20").stdout
    assert "most frequent reference" in printed
    assert "trrg13.micro.f1.u0" in printed
    assert "bleu4.raw" not in printed  # these texts are not tokenised
    assert "scores in all: add --all, or --json" in printed
    everything = run("score", *files, "--no-meteor", "--resamples", "20", "--all").stdout
    assert "trrg.pleural_effusion.f1.u0" in everything


def test_no_labels_parse_nothing(files: tuple[str, str]) -> None:
    metrics = json.loads(run("score", *files, "--labels", "none", "--no-meteor", "--json").stdout)["metrics"]
    assert not [name for name in metrics if name.startswith("trrg")]


def test_no_resamples_leave_the_interval_open(files: tuple[str, str]) -> None:
    metrics = json.loads(run("score", *files, "--no-meteor", "--json", "--resamples", "0").stdout)["metrics"]
    assert {(one["low"], one["high"]) for one in metrics.values()} == {(None, None)}


def test_rexranks_file_is_written_and_scored(files: tuple[str, str], tmp_path: Path) -> None:
    both = str(tmp_path / "rexrank.json")
    run("score", *files, "--no-meteor", "--rexrank", both)
    assert json.loads(Path(both).read_text())["1"]["model_prediction"] == PREDICTIONS["1"]
    again, before = (
        json.loads(run("score", *given, "--no-meteor", "--json").stdout)["metrics"] for given in ((both, both), files)
    )
    assert {name: one["value"] for name, one in again.items()} == {name: one["value"] for name, one in before.items()}


def test_strict_refuses_what_is_not_complete(files: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "some.json").write_text(json.dumps({"1": "x", "2": None}))
    with pytest.raises(DataError, match="1 without a prediction, 1 with a blank prediction"):
        run("score", str(tmp_path / "some.json"), files[1], "--strict")


def test_a_wrong_option_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ConfigError, match="--section 'all': expected one of findings"):
        run("score", "nowhere", "nowhere", "--section", "all")
    with pytest.raises(ConfigError, match="no label set 'x'"):
        run("score", "nowhere", "nowhere", "--labels", "x")


def test_tokenised_texts_are_known_by_their_full_stops() -> None:
    assert is_tokenised(["the lungs are clear . no effusion ."] * 20)
    assert not is_tokenised(["The lungs are clear ."])
    assert not is_tokenised(["the lungs are clear. no effusion."])


def test_two_systems_are_compared(files: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text(json.dumps(REFERENCES))
    words = ("compare", files[0], str(tmp_path / "b.json"), files[1], "--no-meteor", "--resamples", "50")
    printed = json.loads(run(*words, "--json").stdout)
    one = printed["differences"]["trrg13.micro.f1.u0"]
    assert one["second"] == 1
    assert one["difference"] == pytest.approx(1 - one["first"])
    assert one["p_adjusted"] >= one["p"]
    table = run(*words).stdout
    assert "B - A" in table
    assert "Holm's" in table


def test_scores_to_compare_are_named_by_any_of_their_names(files: tuple[str, str]) -> None:
    words = ("compare", files[0], files[0], files[1], "--no-meteor", "--json", "--resamples", "0")
    printed = json.loads(run(*words, "--metric", "rougeL.raw", "--metric", "trrg.edema.f1.u1").stdout)
    assert set(printed["differences"]) == {"rouge_l.raw", "trrg.edema.f1.u1"}
    with pytest.raises(ConfigError, match="--metric bleu9: no such score"):
        run(*words, "--metric", "bleu9")


def test_slices_are_chosen_by_predicates_over_a_file_of_columns(files: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "columns.csv").write_text("study_id,view_position\n1,AP\n2,PA\n3,AP\n")
    columns = ("--columns", str(tmp_path / "columns.csv"))
    words = ("score", *files, "--no-meteor", "--json", "--resamples", "20", *columns)
    printed = json.loads(run(*words, "--slice", "view_position = 'AP'", "--slices").stdout)
    found = {one["name"]: one["n"] for one in printed["slices"]}
    assert found["view_position = 'AP'"] == found["view AP"] == 2
    assert "Slices" in run("score", *files, "--no-meteor", "--resamples", "20", *columns, "--slices").stdout
    with pytest.raises(ConfigError, match="chooses none of 3 studies"):
        run(*words, "--slice", "view_position = 'LL'")
    with pytest.raises(ConfigError, match="refused"):
        run(*words, "--slice", "nothing = 1")


@pytest.mark.real_data
@pytest.mark.parametrize("system", ["copy_oracle_logp", "number_beam1", "template_test"])
def test_published_scores_are_met_to_a_millionth(system: str) -> None:
    folder = REAL_DATA / "metrics" / system
    if not folder.is_dir():
        pytest.skip(f"no published scores under TRRG_REAL_DATA ({system})")
    files = (str(folder / "predictions.json"), str(folder / "references.json"))
    printed = json.loads(run("score", *files, "--json", "--no-meteor", "--resamples", "0").stdout)
    published = json.loads((folder / "published_scores.json").read_text())
    names = {"Bleu_1": "bleu1.raw", "Bleu_2": "bleu2.raw", "Bleu_3": "bleu3.raw", "Bleu_4": "bleu4.raw"}
    names |= {"ROUGE_L": "rougeL.raw", "CIDEr": "cider.raw"}
    for theirs, ours in names.items():
        assert printed["metrics"][ours]["value"] == pytest.approx(published[theirs], abs=1e-6), ours
    collapsed = [warning for warning in printed["warnings"] if warning.startswith("collapsed")]
    assert bool(collapsed) == (system == "template_test")
