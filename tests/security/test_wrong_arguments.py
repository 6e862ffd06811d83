"""Wrong arguments and printed text: one line and an exit code by kind; no text orders a terminal or page about."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.text import Text

import flows.cli
from flows.render import terminal
from flows.render.plain_text import printable
from tests.core.toy_versions import YES, study_row, write_version
from trrg_core.errors import DataError, StorageError
from trrg_core.registry.model_card import ModelCard, render_card
from trrg_core.runs.results import list_results
from trrg_core.storage.store import open_store
from trrg_core.tables.schema import STUDIES

DEEP = "[" * 3_000 + "]" * 3_000
LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{after}: &{after} [{','.join([f'*{before}'] * 9)}]\n"
    for before, after in zip("abcdefghi", "bcdefghij", strict=True)
)
FILES = {
    "deep.yaml": DEEP,
    "mapped.yaml": "a: " + "{b: " * 5000 + "1" + "}" * 5000,
    "laughs.yaml": LAUGHS,
    "itself.yaml": "a: &a [*a]",
    "laughs_in_encoder.yaml": f"pretrain:\n  visual: &x {{{', '.join(f'k{i}: 1' for i in range(9))}}}\n" + LAUGHS,
    "number.yaml": "seed: " + "9" * 5000,
    "control.yaml": "a: \x00",
    "object.yaml": "seed: !!python/object/apply:os.system [ls]",
    "deep.json": DEEP,
    "runs/evaluate-1/result.json": "{half",
    "runs/evaluate-2/result.json": DEEP,
    "runs/evaluate-3/result.json": '{"job": 3}',
    "runs/evaluate-4/result.json": "[]",
    "runs/evaluate-5/result.json": '{"run_id": "evaluate-5", "job": "evaluate", "metrics": "many"}',
    "runs/evaluate-6/result.json": '{"run_id": "evaluate-6", "job": "evaluate", "finished_ms": "now"}',
    "torn/tables/studies/_delta_log/00000000000000000000.json": '{"commitInfo"',
}
# words of the command line, and the exit code; F is the folder of these files
WRONG = [
    (["show", "studies@\u00b2"], 2),
    (["show", "studies@\u0663"], 2),
    (["show", "studies@" + "9" * 5000], 2),
    (["show", "studies@-1"], 2),
    (["diff", "studies@0", "studies@\u00b2"], 2),
    (["labels", "studies@\u00b2"], 2),
    (["show", "--store", "~nobody_at_all"], 2),
    (["ingest", "--source-root", "~nobody_at_all/corpus"], 2),
    (["show", "--store", "a\0b"], 2),
    (["show", "--store", "F/" + "x" * 300], 2),
    (["show", "--store", "F" + "/x" * 2000], 2),
    (["show", "--store", "F/\udcff"], 0),
    (["show", "--store", ""], 2),
    (["show", "--store", "https://store.example"], 2),
    (["show", "--store", "F", "../../etc"], 1),
    (["show", "--store", "F", "\udcff"], 1),
    (["show", "--store", "F", "evaluate-1"], 1),
    (["show", "--store", "F", "evaluate-2"], 1),
    (["show", "--store", "F", "evaluate-3"], 1),
    (["show", "--store", "F", "evaluate-4"], 1),
    (["show", "--store", "F", "evaluate-5"], 1),
    (["show", "--store", "F", "evaluate-6"], 1),
    (["show", "studies@0", "--store", "F/torn"], 75),
    (["history", "studies", "--store", "F/torn"], 75),
    (["config", "--preset", "F/deep.yaml"], 2),
    (["config", "--preset", "F/mapped.yaml"], 2),
    (["config", "--preset", "F/laughs.yaml"], 2),
    (["config", "--preset", "F/itself.yaml"], 2),
    (["config", "--preset", "F/laughs_in_encoder.yaml"], 2),
    (["config", "--preset", "F/number.yaml"], 2),
    (["config", "--preset", "F/control.yaml"], 2),
    (["config", "--preset", "F/object.yaml"], 2),
    (["config", "--preset", "F"], 2),
    (["config", "--preset", "a\0b"], 2),
    (["config", "--preset", "x" * 5000], 2),
    (["config", "--set", "seed=" + DEEP], 2),
    (["config", "--set", "seed=" + "9" * 5000], 2),
    (["config", "--set", ".".join("a" * 3000) + "=1"], 2),
    (["config", "--set", "seed=\x1b[31m"], 2),
    (["config", "--set", "\udcff=1"], 2),
    (["config", "--set", "seed=2024-13-45"], 2),
    (["sample", "F/deep.yaml/corpus"], 2),
    (["sample", "/proc/corpus"], 2),
    (["score", "F/deep.json", "F/deep.json"], 2),
    (["weights", "\u00b2"], 2),
    (["export", "studies@\u00b2", "F/out"], 2),
    (["export", "studies", "F/out", "--split", "\x1b[31m", "--store", "F/none"], 2),
    (["sql", "SELECT " + "(" * 5000 + "1" + ")" * 5000], 2),
    (["sql", "SELECT " + "[" * 400 + "]" * 400], 2),
    (["sql", "SELECT '\udcff'"], 2),
    (["sql", "SELECT \x1b[31m"], 2),
    (["sql", "FROM '/etc/passwd'"], 2),
    (["sql", "SELECT ref FROM versions", "--store", "F/torn"], 75),
    (["catalog", "F/none/trrg.duckdb"], 2),
    (["catalog", "F/deep.yaml", "--replace", "--store", "F/torn"], 75),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("files")
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")
    return root


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """The exit code and standard error of `trrg`, in this process."""
    error = io.StringIO()
    monkeypatch.setattr(sys, "argv", ["trrg", *words])
    monkeypatch.setattr(sys, "stderr", error)
    monkeypatch.setattr(flows.cli, "_set_up", lambda: None)  # it sets the mask and the logging of the process
    with pytest.raises(SystemExit) as ended:
        flows.cli.main()
    return int(ended.value.code or 0), error.getvalue()


@pytest.mark.parametrize(("words", "code"), WRONG, ids=[ascii(" ".join(words))[:60] for words, _ in WRONG])
def test_a_wrong_argument_is_one_line(
    words: list[str], code: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(folder)
    words = [re.sub("^F(?=/|$)", lambda _: place, word) for word in words]
    ended, text = run(words, monkeypatch)
    assert (ended, "Traceback" in text) == (code, False), text
    if code:
        assert re.fullmatch(r"(\x1b\[31m)?error: [^\n]*\n?(\x1b\[0m)?\n?", text), text
        assert len(text) < 1000
        assert "\x1b[31m" not in text.removeprefix("\x1b[31m"), "the argument was printed as it is"


def test_damaged_results_are_left_out_of_the_list_with_a_warning(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING"):
        assert list_results(open_store(str(folder))) == []
    assert len([record for record in caplog.records if "is not the result of a run" in record.getMessage()]) == 6


def test_a_mistake_of_ours_is_one_line_that_quotes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise KeyError("the heart is normal")

    monkeypatch.delenv(flows.cli.TRACEBACK_VARIABLE, raising=False)
    monkeypatch.setattr(flows.cli, "app", fail)
    code, text = run([], monkeypatch)
    assert code == 70
    assert "unexpected KeyError at flows/cli/__init__.py:" in text
    assert "heart" not in text
    monkeypatch.setenv(flows.cli.TRACEBACK_VARIABLE, "1")
    with pytest.raises(KeyError):
        flows.cli.main()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FileNotFoundError(2, "No such file or directory", "/a/b"), 2),
        (PermissionError(13, "Permission denied", b"/a/\xff"), 2),
        (OSError(28, "No space left on device", "/a/b"), 75),
        (OSError("no file"), 70),
        (StorageError("busy"), 75),
        (DataError("reason", "line\nline"), 1),
        (RecursionError("deep"), 70),
        (UnicodeEncodeError("ascii", "heart", 0, 1, "no"), 70),
    ],
)
def test_each_kind_of_failure_has_its_exit_code(error: Exception, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise error

    monkeypatch.delenv(flows.cli.TRACEBACK_VARIABLE, raising=False)
    monkeypatch.setattr(flows.cli, "app", fail)
    ended, text = run([], monkeypatch)
    assert (ended, text.count("error: ")) == (code, 1)
    assert "heart" not in text


NAMES = (
    "\u00e4\u20ac",
    "a%zz",
    "a b",
    "a#b",
    "a?b",
    "a+b",
    "a&b=c",
    "n\u0303",
    "[x]",
    "'q'",
    '"d"',
    "a:b",
    "*",
    "100%",
)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_table_is_kept_below_a_folder_of_any_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(str(tmp_path / name))
    ref = write_version(store, "studies", [study_row("1", {"Edema": YES})], STUDIES, fingerprint="f")
    assert str(ref) == "studies@0"
    assert run(["show", "studies@0", "--store", store.uri], monkeypatch)[0] == 0


@pytest.mark.parametrize("name", ["a%20b", "a%2Fb", "a\\b"])
def test_a_folder_that_deltalake_takes_for_another_is_refused(name: str, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / name))
    with pytest.raises(Exception, match=r"no table can be kept below a folder with") as caught:
        write_version(store, "studies", [study_row("1", {"Edema": YES})], STUDIES, fingerprint="f")
    assert type(caught.value).__name__ == "ConfigError"


def test_a_locale_without_umlauts_is_enough(tmp_path: Path) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "flows.cli", "show", "caf\u00e9", "--store", str(tmp_path / "\u4e2d")]
    done = subprocess.run(command, env={**os.environ, **ascii_only}, capture_output=True, check=False, timeout=120)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1), done.stderr
    assert b"caf" in done.stderr
    wrong = [sys.executable, "-m", "flows.cli", "show", "studies@\u00b2"]
    done = subprocess.run(wrong, env={**os.environ, **ascii_only}, capture_output=True, check=False, timeout=120)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)


ORDERS = {
    "colour": "\x1b[31mred",
    "title": "\x1b]0;title\x07",
    "link": "\x1b]8;;http://evil.example\x1b\\text",
    "clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "one byte": "\x9b31mred",
    "line over line": "effusion\rno effusion",
    "backspace": "no\x08\x08  effusion",
    "right to left": "\u202enoisuffe on",
    "isolate": "\u2066x\u2069",
    "delete": "\x7f",
}


@pytest.mark.parametrize("text", ORDERS.values(), ids=ORDERS)
def test_printed_text_gives_no_orders_to_the_terminal(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    controls = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
    assert not controls.search(printable(text))
    table = terminal.build_table((terminal.Column("report"),), [[text], [Text(text)]])
    terminal.print_table(table)
    terminal.print_line(text)
    terminal.open_console().print(Text(text))
    assert not controls.search(capsys.readouterr().out)


def test_other_text_is_printed_as_it_is() -> None:
    assert printable("Caf\u00e9 \u2013 \u00b2\t\u4e2d\nline") == "Caf\u00e9 \u2013 \u00b2\t\u4e2d\nline"


MARKUP = {
    "link": "[x](http://evil.example)",
    "picture": "![x](http://evil.example/a.png)",
    "reference": "[x]: http://evil.example",
    "HTML": "<img src=http://evil.example onerror=alert(1)>",
    "comment": "<!-- x",
    "code": "`x`",
    "column": "a | b",
    "line": "a\n\n# Heading",
    "emphasis": "*x* _x_",
    "entity": "&lt;script&gt;",
    "formula": "$x$",
}


@pytest.mark.parametrize("text", MARKUP.values(), ids=MARKUP)
def test_a_model_card_shows_markup_as_text(text: str) -> None:
    from markdown_it import MarkdownIt

    card = ModelCard(
        name=text, run_id="r", lineage={"note": text}, basis=text, scores=[{"score": "f1", "m": text}], conventions={}
    )
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    page = parser.render(render_card(card))
    plain = parser.render(
        render_card(
            ModelCard(
                **{
                    **vars(card),
                    "name": "n",
                    "lineage": {"note": "v"},
                    "basis": "b",
                    "scores": [{"score": "f1", "m": "0"}],
                }
            )
        )
    )

    def tags(html: str) -> list[str]:
        return re.findall(r"</?\w+", html)

    assert tags(page) == tags(plain), page


def test_every_page_has_a_policy_that_allows_no_network() -> None:
    from trrg_core.pages.template import read_part
    from trrg_core.report import explain

    assert "default-src 'none'" in read_part("head.html")
    folder = Path(explain.__file__).parents[1] / "pages"
    for page in folder.glob("*.html"):
        text = page.read_text("utf-8")
        if "<html" in text:
            assert "Content-Security-Policy" in text or '"head.html"' in text, page
            assert not re.search(r"\son\w+=|https?://(?!www\.w3\.org)", text), page
    assert "default-src 'none'" in explain._PAGE


def test_a_parsed_report_with_markup_is_escaped() -> None:
    from trrg_core.report.explain import explain_html

    page = explain_html("No effusion <script>alert(1)</script> & <img src=x onerror=y>.")
    assert "<script" not in page
    assert "<img" not in page
