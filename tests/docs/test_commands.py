"""Every `trrg` command that the README and the documentation show works."""

import json
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import typer
import yaml

from flows.cli import app, main
from pipelines.jobs.reslice import make_slice
from tests.core.toy_versions import NO, YES, write_chain
from tests.docs.pages import PAGES, ROOT, code_blocks
from trrg_core.slicing.contract import ContractSpec
from trrg_core.slicing.spec import SliceSpec, validate_slice_spec
from trrg_core.storage.store import open_store

# only their options are parsed: these train, read a source, need a trained model,
# start servers, or reach a bucket
PARSED_ONLY = {"run", "ingest", "parse", "generate", "evaluate", "register", "serve", "up"}
PARSED_ONLY |= {"check", "card", "verify", "migrate"}


def _commands(page: Path) -> list[str]:
    lines = [line for block in code_blocks(page, "bash") for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith("trrg ") and "COMMAND" not in line]


COMMANDS = list(dict.fromkeys(command for page in PAGES for command in _commands(page)))


def test_the_pages_show_commands():
    assert len(COMMANDS) > 12
    assert any(command.startswith("trrg run") for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_shown_command_works(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    words = shlex.split(command, comments=True)[1:]
    words = words[: words.index(">")] if ">" in words else words
    if words[0] in PARSED_ONLY or any("s3://" in word for word in words):
        verb = typer.main.get_command(app).commands[words[0]]
        verb.make_context(words[0], words[1:]).close()
        return
    for name in ("trrg-store", "demo/store"):
        store = open_store(str(tmp_path / name))
        write_chain(store, {"1": ("train", {"Edema": NO}), "3": ("test", {"Pneumonia": YES})}, run="a")
        write_chain(store, {"1": ("train", {"Edema": YES}), "3": ("test", {"Pneumonia": YES})}, run="b")
        if any("slices:" in word for word in words):
            for shown in ("rare-findings", "fewer-denials"):
                make_slice(store, SliceSpec(name=shown))
    for name in ("spec.yaml", "rare-findings.yaml", "nightly.yaml"):
        (tmp_path / name).write_text("name: shown\n")
    for name, text in (
        ("predictions", "no edema ."),
        ("others", "mild edema ."),
        ("references", "edema ."),
        ("reports", "edema ."),
    ):
        (tmp_path / f"{name}.json").write_text(json.dumps({"1": [text], "2": ["no effusion ."]}))
        (tmp_path / f"{name}.csv").write_text(f"study_id,report\n1,{text}\n2,no effusion .\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRRG_LOG_FORMAT", "")  # an option sets it; it is put back after the test
    monkeypatch.setenv("TRRG_WITHDRAWAL_KEY", "an invented secret of a test")
    monkeypatch.setattr("flows.cli._set_up", lambda: None)
    monkeypatch.setattr("sys.argv", ["trrg", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None), capsys.readouterr().err


@pytest.mark.parametrize("command", [command for command in COMMANDS if "--set" in command])
def test_a_shown_setting_is_a_setting(command: str):
    from flows.entry import read_config

    words = shlex.split(command, comments=True)
    settings = [value for option, value in pairwise(words) if option == "--set"]
    preset = next((value for option, value in pairwise(words) if option == "--preset"), "tiny")
    read_config(preset, "", "", settings)


def test_the_shown_spec_is_a_spec():
    spec, contract = code_blocks(ROOT / "docs" / "slices.md", "yaml")
    assert validate_slice_spec(yaml.safe_load(spec)).quotas
    assert ContractSpec.model_validate(yaml.safe_load(contract)).mix
