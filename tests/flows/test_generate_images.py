"""`trrg generate IMAGE...`: reports for images with a model folder, and the border to the job of the same name."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.core.toy_corpus import OBSERVATIONS, draw
from tests.core.toy_model import write_toy_model
from tests.flows.command_line import QUIET, trrg_here

# typer ends the process, so what was imported is listed on the way out
RUN_AND_LIST = (
    "import atexit, sys; heavy = ('ray', 'prefect', 'mlflow', 'deepspeed'); "
    "atexit.register(lambda: print([name for name in heavy if name in sys.modules], file=sys.stderr)); "
    "from flows.cli import main; main()"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder, two films, a study of two films, and two files that are no films."""
    folder = tmp_path_factory.mktemp("use")
    write_toy_model(folder / "model")
    film = draw(1, "e")
    for name in ("a.jpg", "b.jpg", "studies/s1/front.jpg", "studies/s1/side.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(draw(len(name), "e"))
    (folder / "cut.jpg").write_bytes(film[: len(film) // 2])
    (folder / "text.jpg").write_bytes(b"secretive words")
    (folder / "two\nlines.jpg").write_bytes(b"no film")
    (folder / "empty.txt").write_bytes(b"\xef\xbb\xbf \n")
    return folder


@pytest.fixture(autouse=True)
def _here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def generate(*words: str) -> subprocess.CompletedProcess[str]:
    return trrg_here("generate", *words)


def test_each_study_is_one_line_of_json_and_a_bad_image_sets_the_exit_code() -> None:
    words = ("--model", "model", "--json", "--view", "PA", "a.jpg", "cut.jpg", "studies", "text.jpg", "two\nlines.jpg")
    done = generate(*words)
    assert done.returncode == 1, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["id"] for record in records] == ["a", "cut", "s1", "text", "two\nlines"]
    assert [record["report"] is None for record in records] == [False, True, False, True, True]
    assert [clue["finding"] for clue in records[0]["clues"]] == list(OBSERVATIONS)
    assert [film["view"] for film in records[2]["films"]] == ["PA", "PA"]
    assert records[0]["model"] == "model"
    assert done.stderr.splitlines() == [
        "set aside: cut.jpg: jpeg_truncated: JPEG of 64 x 56: Premature end of JPEG file",
        "set aside: text.jpg: not_an_image: 15 bytes that are not a JPEG, PNG or DICOM file",
        "set aside: two\\nlines.jpg: not_an_image: 7 bytes that are not a JPEG, PNG or DICOM file",
    ]


def test_neither_ray_nor_prefect_nor_mlflow_is_imported() -> None:
    words = ["generate", "--model", "model", "--study", "7\nGENERATED", "a.jpg", "b.jpg"]
    environment = {**os.environ, **QUIET, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", RUN_AND_LIST, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "[]\n"
    assert "Study 7\\nGENERATED (view unknown, view unknown)\n" in done.stdout
    assert "GENERATED REPORT by model. Not for clinical use." in done.stdout
    assert all(name in done.stdout for name in OBSERVATIONS)


def test_given_clues_are_marked_where_they_stand(place: Path) -> None:
    words = ["--clue", "Pneumothorax=right", "--clue", "cardiomegaly=absent"]
    record = json.loads(generate("--model", "model", "--json", "a.jpg", *words).stdout)
    clues = {clue["finding"]: clue for clue in record["clues"]}
    assert clues["Pneumothorax"]["given"] and clues["Pneumothorax"]["probability"] > 0.99  # noqa: PT018
    assert clues["Pneumothorax"]["right"] > 0.99 > 0.01 > clues["Pneumothorax"]["left"]
    assert clues["Cardiomegaly"]["probability"] < 0.01
    assert "given" not in clues["Pleural Effusion"]
    done = generate("--model", "model", "--html", "given.html", "a.jpg", *words)
    assert (place / "given.html").read_text("utf-8").count(">given by a person</em>") == 2, done.stderr


def test_a_page_holds_films_heat_maps_and_what_was_set_aside(place: Path) -> None:
    done = generate("--model", "model", "--html", "page.html", "studies", "cut.jpg")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "wrote page.html: 1 studies" in done.stderr
    page = (place / "page.html").read_text("utf-8")
    assert page.count('class="film"') == 2
    assert 'class="heat"' in page
    assert "jpeg_truncated" in page


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--model", "model"], "--model goes with images: give some"),
        (["--html", "x.html"], "--html goes with images: give some"),
        (["a.jpg", "--input", "shards=shards@0"], "--input goes with the job: give no images"),
        (["a.jpg", "--source-root", "x"], "--source-root goes with the job: give no images"),
        (["gone.jpg"], "gone.jpg: there is no such file or folder"),
        (["a.jpg", "--html", "no/page.html"], "there is no folder no"),
        (["--html", "a.jpg", "b.jpg"], "--html: a.jpg exists and is no page"),
        (["a.jpg", "--html", "studies"], "--html: studies is a folder"),
        (["a.jpg", "--prior", "empty.txt"], "--prior: empty.txt is empty"),
        (["a.jpg"], "has no registered model"),
        (["--clue", "Edema=absent"], "--clue goes with images: give some"),
        (["a.jpg", "--model", "model", "--clue", "Pneumotorax=left"], "did you mean 'Pneumothorax'"),
        (["a.jpg", "--model", "model", "--clue", "Cardiomegaly=left"], "'Cardiomegaly': the model knows no side of it"),
        (
            ["a.jpg", "--model", "model", "--set", "generate.clue_shift=nan"],
            "clue_shift: Input should be a finite number",
        ),
        (
            ["a.jpg", "--model", "model", "--set", "finetune.clues=off"],
            "--set finetune.clues: a trained model is built",
        ),
        (["a.jpg", "--model", "model", "--set", "generate.beams=2"], "unknown key 'generate.beams'"),
    ],
)
def test_what_does_not_go_together_is_one_line(words: list[str], reason: str) -> None:
    done = generate(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_a_setting_of_decoding_changes_the_report() -> None:
    lengths = [
        len(json.loads(generate("--model", "model", "--json", "a.jpg", "--set", setting).stdout)["report"])
        for setting in ("generate.max_new_tokens=8", "generate.max_new_tokens=40")
    ]
    assert lengths[0] < lengths[1]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--host", "0.0.0.0"], "a server that other machines reach needs a token (TRRG_SERVE_TOKEN)"),
        (["--set", "finetune.clues=off", "--port", "8901"], "--set finetune.clues: a trained model is built"),
        (["--model", "models:/trrg", "--port", "8902"], "expected models:/NAME@ALIAS or models:/NAME/VERSION"),
        (["--port", "8903"], "has no registered model"),
    ],
)
def test_a_server_that_cannot_start_says_so_before_ray_is_started(words: list[str], reason: str) -> None:
    done = trrg_here("serve", *words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
