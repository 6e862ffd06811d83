import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import typer
import yaml

from flows.cli import app
from pipelines.running.catalog import FIRST_JOB, JOBS
from tests.flows.command_line import QUIET, trrg_here
from trrg_core.config.load import load_config
from trrg_core.config.settings import TrrgConfig
from trrg_core.config.values import PRESETS

TRRG = Path(sys.executable).parent / "trrg"
STORE_VERBS = ("show", "history", "rejects", "diff", "gc", "labels", "drift", "view")
VERBS = (
    "sample",
    "run",
    "config",
    "check",
    "parse-text",
    "label",
    "explain",
    "up",
    "down",
    "serve",
    *STORE_VERBS,
    *JOBS,
)
MOST_HELP_SECONDS = 1.0


@pytest.fixture(autouse=True, scope="module")
def _away_from_the_tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("cwd"))
    yield
    os.chdir(before)


def _process(*words: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """The installed command, in a process of its own."""
    return subprocess.run(
        [TRRG, *words], input=stdin, capture_output=True, encoding="utf-8", timeout=120, env={**os.environ, **QUIET}
    )


def _refused(done: subprocess.CompletedProcess[str], code: int = 2) -> str:
    """The one line of an expected error."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    return line


def test_the_help_of_the_app_names_every_verb_and_where_to_start() -> None:
    done = _process("--help")
    assert done.returncode == 0
    assert not [verb for verb in VERBS if f" {verb} " not in done.stdout]
    assert "Start with: trrg sample" in done.stdout
    assert "not for clinical use" in done.stdout


def test_the_version_is_that_of_the_installed_package() -> None:
    assert _process("--version").stdout == f"trrg {version('trrg')}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_each_verb_shows_an_example(verb: str) -> None:
    done = trrg_here(verb, "--help")
    assert done.returncode == 0
    assert f": trrg {verb}" in done.stdout


def test_help_costs_less_than_a_second_of_cpu() -> None:
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        assert _process("--help").returncode == 0
        seconds.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before)
    assert 0 < min(seconds) < MOST_HELP_SECONDS


def test_the_command_line_imports_nothing_heavy_before_a_command_needs_it() -> None:
    code = (
        "import sys, flows.cli\n"
        "print([name for name in ('torch', 'spacy', 'ray', 'prefect', 'pyarrow', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("verb", ["run", "finetune"])
def test_a_wrong_setting_stops_before_anything_starts(verb: str, tmp_path: Path) -> None:
    where = ("--store", tmp_path / "store", "--source-root", tmp_path)
    line = _refused(_process(verb, *where, "--set", "finetune.cluse=off"))
    assert "unknown key 'finetune.cluse'; did you mean 'finetune.clues'?" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            ("config", "--preset", "tinny"),
            "no preset or file 'tinny': presets are tiny, small, base; did you mean 'tiny'?",
        ),
        (("config", "--set", "seed"), "expected section.key=value"),
        (("config", "--set", "seed=["), "is not YAML"),
        (("run", "--source", "nurses"), "source.kind: Input should be 'mimic-cxr', 'iu-xray', "),
        (("run", "--from", "finetun"), "no job 'finetun': expected one of ingest, parse"),
        (("show", "nurses@1"), "expected NAME@VERSION"),
        (("show", "pretrain-none"), "run 'pretrain-none' of"),
        (("show", "--store", "ftp://x"), "expected a local path or s3://bucket/prefix"),
        (("finetune", "--input", "shards"), "expected NAME=REF"),
        (("parse-text", "--input", "no-such-file"), "--input: no file no-such-file"),
        (
            ("explain", "--html", "no/such/page.html", "No edema."),
            "--html no/such/page.html: there is no folder no/such",
        ),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_fix(words: tuple[str, ...], reason: str) -> None:
    assert reason in _refused(trrg_here(*words))


@pytest.mark.parametrize("enter_at", ["finetune", "register"])
def test_entering_late_on_an_empty_store_says_where_to_enter(tmp_path: Path, enter_at: str) -> None:
    line = _refused(trrg_here("run", "--from", enter_at, "--store", tmp_path / "store"))
    assert "has no result of ingest: enter at ingest or earlier" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("preset", PRESETS)
def test_the_printed_configuration_reads_back_as_the_same(tmp_path: Path, preset: str) -> None:
    settings = ["finetune.optimizer.learning_rate=1e-5", "source.root='20: #24'", "finetune.clues=off"]
    done = trrg_here("config", "--preset", preset, *(word for setting in settings for word in ("--set", setting)))
    assert done.returncode == 0
    (tmp_path / "printed.yaml").write_text(done.stdout)
    assert load_config(str(tmp_path / "printed.yaml")) == load_config(preset, settings)
    assert "# Peak learning rate." in done.stdout


def test_the_free_values_of_a_backbone_read_back_too(tmp_path: Path) -> None:
    done = trrg_here("config", "--set", "finetune.llm.config.rms_norm_eps=0.000001")
    (tmp_path / "printed.yaml").write_text(done.stdout)
    assert load_config(str(tmp_path / "printed.yaml")).finetune.llm.config["rms_norm_eps"] == 1e-6


def test_plain_yaml_reads_the_printed_configuration() -> None:
    assert TrrgConfig.model_validate(yaml.safe_load(trrg_here("config").stdout)) == load_config("tiny")


def test_the_source_of_a_file_is_kept_unless_an_option_gives_another(tmp_path: Path) -> None:
    from flows.entry import read_config

    file = tmp_path / "mine.yaml"
    file.write_text("preset: tiny\nsource: {kind: plain, root: export}\n")
    assert read_config(str(file), "", "", ()).source.kind == "plain"
    other = read_config(str(file), "iu-xray", "2024", ["seed=3"])
    assert (other.source.kind, other.source.root, other.seed) == ("iu-xray", "2024", 3)
    assert read_config(str(file), "", "", ["source.kind=iu-xray"]).source.kind == "iu-xray"


def test_parse_text_reads_lines_from_standard_input() -> None:
    reports = [{"id": "a", "text": "No pneumothorax."}, {"id": 2, "text": "Odd\u2028line. There is edema."}]
    lines = "\n\n".join(json.dumps(report, ensure_ascii=False) for report in reports)
    done = _process("parse-text", stdin=lines)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads(line) for line in done.stdout.split("\n") if line)
    assert (first["id"], second["id"]) == ("a", 2)
    assert (first["labels"]["Pneumothorax"], first["labels"]["Edema"]) == (0, None)
    assert second["labels"]["Edema"] == 1


def test_a_line_that_is_no_report_is_named_by_its_number_and_not_quoted() -> None:
    done = trrg_here("parse-text", stdin='{"id": 1, "text": "No edema."}\nsecretive words\n')
    assert done.returncode == 1
    assert "error: line 2 is not JSON" in done.stderr
    assert "secretive" not in done.stderr
    assert "Traceback" not in done.stderr


def test_bytes_that_are_no_text_are_refused_and_not_quoted(tmp_path: Path) -> None:
    file = tmp_path / "report.txt"
    file.write_bytes(b"secretive \xff\xfe")
    assert "is not UTF-8" in _refused(trrg_here("explain", file))
    # a name that is read as a report has no finding
    for name in (tmp_path, tmp_path / "reprot.txt"):
        assert f"{name} is no text file" in _refused(trrg_here("explain", name))
    assert "is not UTF-8" in _refused(trrg_here("parse-text", "--input", file))
    assert "is not UTF-8" in _refused(trrg_here("parse-text", stdin=b'{"text": "\xff"}'))


def test_explain_shows_the_finding_and_what_is_said_of_it() -> None:
    done = trrg_here("explain", "No pleural effusion. Possible pneumonia.")
    assert done.returncode == 0, done.stderr
    assert [word for word in ("pleural_effusion", "ABSENT", "pneumonia", "UNCERTAIN") if word not in done.stdout] == []


def test_explain_takes_a_text_longer_than_any_file_name() -> None:
    done = trrg_here("explain", "No pleural effusion is seen. " * 40)
    assert done.returncode == 0, done.stderr
    assert "pleural_effusion" in done.stdout


def test_the_page_of_explain_escapes_markup(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    report = "<script>alert(1)</script> No <b>pleural effusion</b> & <img src=x onerror=alert(2)>."
    done = trrg_here("explain", "--html", page, report)
    assert done.returncode == 0, done.stderr
    text = page.read_text("utf-8")
    assert not [tag for tag in ("<script", "<b>", "<img") if tag in text]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "pleural_effusion" in text


def test_show_of_an_empty_store_prints_no_tables_and_creates_nothing(tmp_path: Path) -> None:
    store = tmp_path / "store"
    done = trrg_here("show", "--store", store)
    assert (done.returncode, yaml.safe_load(done.stdout)) == (0, {"tables": {}, "runs": {}})
    assert json.loads(trrg_here("show", "--store", store, "--json").stdout) == {"tables": {}, "runs": {}}
    assert json.loads(trrg_here("show", "rejects", "--store", store, "--json").stdout) == {"rejects": "none"}
    assert not store.exists()


def test_a_sample_is_drawn_once_and_again_after_it_was_removed(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    words = ("sample", "--studies", "3", "--seed", "5", folder)
    assert "3 studies of " in trrg_here(*words).stdout
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert trrg_here(*words).stdout == f"{folder}: already holds 3 studies of seed 5\n"
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == files
    assert "is not empty" in _refused(trrg_here("sample", "--studies", "4", folder))
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()
    assert "already holds" not in trrg_here(*words).stdout
    assert set(folder.rglob("*")) == set(files)


def test_an_interrupted_sample_leaves_no_tree_and_is_drawn_again(tmp_path: Path) -> None:
    folder, partial = tmp_path / "corpus", tmp_path / "corpus.partial"
    with subprocess.Popen(
        [TRRG, "sample", "--studies", "3000", folder], stderr=subprocess.DEVNULL, start_new_session=True
    ) as drawing:
        while drawing.poll() is None and not any(partial.rglob("*.jpg")):
            time.sleep(0.05)
        os.killpg(drawing.pid, signal.SIGKILL)
    assert partial.is_dir()
    assert not folder.exists()
    done = trrg_here("sample", "--studies", "2", folder)
    assert done.returncode == 0, done.stderr
    assert len(list(folder.rglob("s*.txt"))) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "corpus",
        "corpus.sample.json",
        "corpus.truth.jsonl.gz",
    ]


def test_a_sample_does_not_remove_a_folder_that_is_not_its_own(tmp_path: Path) -> None:
    mine = tmp_path / "corpus.partial" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    assert "is in the way" in _refused(trrg_here("sample", "--studies", "2", tmp_path / "corpus"))
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("verb", ["run", "ingest"])
def test_without_a_source_nothing_starts(verb: str, tmp_path: Path) -> None:
    assert "give --source-root FOLDER" in _refused(trrg_here(verb, "--store", tmp_path / "store"))
    line = _refused(trrg_here(verb, "--store", tmp_path / "store", "--source-root", tmp_path / "none"))
    assert "there is no such folder" in line
    assert list(tmp_path.iterdir()) == []


def test_a_missing_source_is_reported_before_anything_heavy_is_imported() -> None:
    code = (
        "import sys, flows.cli\n"
        "sys.argv = ['trrg', 'run']\n"
        "try: flows.cli.main()\n"
        "except SystemExit as stop: print(stop.code, {'torch', 'ray', 'prefect'} & set(sys.modules) or '')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "2"


def test_parse_text_prints_a_table_of_labels() -> None:
    done = trrg_here("parse-text", "--table", stdin='{"id": "a7", "text": "No pneumothorax. There is edema."}')
    assert done.returncode == 0, done.stderr
    (row,) = (line for line in done.stdout.splitlines() if "a7" in line)
    assert row.index("Edema") < row.index("Pneumothorax")
    with_flag = trrg_here("parse-text", "--json", stdin='{"id": "a7", "text": "No pneumothorax."}')
    assert json.loads(with_flag.stdout)["labels"]["Pneumothorax"] == 0


def test_the_example_of_a_job_that_reads_the_source_names_one() -> None:
    commands = typer.main.get_command(app)
    context = typer.Context(commands)
    examples = {name: commands.get_command(context, name).epilog for name in JOBS}
    named = [name for name, example in examples.items() if "--source-root corpus" in example]
    assert named == [FIRST_JOB]
