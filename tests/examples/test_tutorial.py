"""The tutorial from its first command to its last, and the examples that need what it trained."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, code_blocks
from tests.examples.run_example import run_example
from trrg_core.storage.store import open_store
from trrg_core.tables.delta import read_table
from trrg_core.tables.table_ref import TableRef

# long: tests/chain runs the same chain in CI
pytestmark = [pytest.mark.ray, pytest.mark.flow, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1800)]

TUTORIAL = ROOT / "docs" / "tutorial.md"
QUICK = (
    "engine.local=true",  # training on workers is what tests/chain runs
    "ray.local_cpus=2",
    "pretrain.epochs=1",
    "finetune.epochs=1",
    "generate.max_new_tokens=24",
    "generate.candidates=2",
    "evaluate.bootstrap_samples=20",
    "evaluate.meteor=false",
    "register.override=rehearsal",
)
SETTINGS = " ".join(f"--set {setting}" for setting in QUICK)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the tutorial was followed, with fewer studies and epochs than it shows."""
    folder = tmp_path_factory.mktemp("tutorial")
    (settings,) = code_blocks(TUTORIAL, "yaml")
    (folder / "export.yaml").write_text(settings)
    commands = "".join(code_blocks(TUTORIAL, "bash"))
    commands = commands.replace("--studies 200", "--studies 60").replace("examples/", f"{ROOT}/examples/")
    commands = commands.replace("trrg run --preset export.yaml", f"trrg run --preset export.yaml {SETTINGS}")
    assert SETTINGS in commands
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=1500,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PREFECT_HOME": str(folder / "prefect"),
        },
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    (folder / "printed.txt").write_text(done.stdout)
    return folder


def test_the_tutorial_ends_with_scores_a_report_and_a_decision(place: Path) -> None:
    printed = (place / "printed.txt").read_text()
    assert "Scores on the test split" in printed
    assert list((place / "trrg-store" / "runs").glob("evaluate-*/report.html"))
    assert (place / "look" / "index.html").is_file()
    assert "models:/trrg/1 (champion)" in printed


def test_load_champion_writes_a_report_with_support(place: Path) -> None:
    film = next((place / "my-export" / "images").iterdir())
    printed = run_example("load_champion", str(film), cwd=place)
    assert printed.startswith("models:/trrg/1 (champion), run finetune-")


def test_reslice_and_retrain_scores_the_model_of_a_slice(place: Path) -> None:
    (place / "spec.yaml").write_text(
        "name: fewer-normal\nquotas: [{observation: Pleural Effusion, assertion: PRESENT, share: 0.2}]\n"
    )
    words = [word for setting in QUICK for word in ("--set", setting)]
    printed = run_example(
        "reslice_and_retrain", "--spec", "spec.yaml", "--preset", "export.yaml", *words, cwd=place, timeout_s=1200
    )
    assert printed.startswith("slices@0 of shards@0: ")
    assert "trrg14.micro.f1.u0" in printed


def test_the_study_picture_is_drawn_from_the_store(place: Path) -> None:
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        from make_study_picture import draw, read_study

        store = open_store(str(place / "trrg-store"))
        rows = read_table(store, TableRef.parse("predictions@0"), columns=["study_id"])
        draw(read_study(store, rows["study_id"][0].as_py()), place / "study.png")
    finally:
        sys.path.remove(str(ROOT / "docs"))
    assert (place / "study.png").read_bytes().startswith(b"\x89PNG")
