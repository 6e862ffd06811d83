"""Files and numbers of the command line: a pipe, a device, damaged content or an odd number is one line, at once."""

import errno
import io
import json
import os
import re
import resource
import stat
import sys
from pathlib import Path

import pytest

from flows.cli.bounded_process import bounded_process
from tests.core.toy_versions import YES, study_row, write_version
from tests.security.test_wrong_arguments import run
from trrg_core.errors import ConfigError
from trrg_core.storage.given_file import write_given_file
from trrg_core.storage.store import open_store
from trrg_core.tables.schema import STUDIES

NUMBER, DEEP = "9" * 5000, "[" * 100_000
FILES = {
    "latin.yaml": b"a: \xff\xfe",
    "keys.yaml": b"a: 1",
    "list.yaml": b"- a",
    "deep.yaml": b"[" * 3000 + b"]" * 3000,
    "types.yaml": b"name: 1\nobservations: 3\nfindings: 4",
    "control.yaml": b"name: \x00",
    "number.jsonl": b'{"id": %s, "text": "x"}' % NUMBER.encode(),
    "deep.jsonl": b'{"id": 1, "text": "x", "a": ' + DEEP.encode(),
    "open.csv": b'report\n"a\nb\nc',
    "number.json": b"[" + NUMBER.encode() + b"]",
    "halves.json": json.dumps({"0": ["half \ud83d"], "\ud83d": ["x"]}).encode(),
    "twice.csv": b"id,id\n0,1\n",
    "pairs.json": json.dumps({"0": ["Clear."]}).encode(),
    "x.partial/thesis.txt": b"years of work",
    "half.sample.json": b"{half",
    "half/file": b"",
    "deepest.sample.json": DEEP.encode(),
    "deepest/file": b"",
}
P, Z = "F/pipe", "/dev/zero"
# F is the folder of these files, S a store with one study
WRONG = [
    (["label", P], 2),
    (["label", Z], 2),
    (["label", "a\0b"], 2),
    (["label", "F/open.csv"], 1),
    (["label", "F/number.jsonl"], 1),
    (["parse-text", "--input", P], 2),
    (["parse-text", "--input", "F/number.jsonl"], 1),
    (["parse-text", "--input", "F/deep.jsonl"], 1),
    *[
        (["parse-text", "--input", "/dev/null", "--labels", name], 2)
        for name in (
            P,
            Z,
            "a\0b",
            *(f"F/{kind}.yaml" for kind in ("latin", "keys", "list", "deep", "types", "control")),
        )
    ],
    (["explain", "x", "--html", P], 2),
    (["explain", "x", "--html", "/dev/full"], 2),
    (["explain", "x", "--html", "F"], 2),
    *[(["reslice", name, "--store", "S"], 2) for name in (P, Z)],
    *[(["contract", name, "studies", "--store", "S"], 2) for name in (P, Z)],
    *[(["withdraw", "--dry-run", "--store", "S", "--file", name], 2) for name in (P, Z, "a\0b", "F/latin.yaml")],
    (["withdraw", "--dry-run", "--store", "S", "--patient", "\udcff"], 2),
    (["withdraw", "--dry-run", "--store", "S", "--patient", "1", "--study", "\udcff"], 2),
    (["withdraw", "--dry-run", "--store", "S", "--patient", " "], 2),
    *[(["score", name, name], 2) for name in (P, Z, "a\0b", "F/number.json")],
    (["score", "F/halves.json", "F/pairs.json"], 1),
    *[
        (["score", "F/pairs.json", "F/pairs.json", "--columns", name], 2)
        for name in (P, Z, "a\0b", "\udcff.csv", "F/twice.csv")
    ],
    *[(["score", "F/pairs.json", "F/pairs.json", "--outside", name], 2) for name in (P, Z, "F/latin.yaml")],
    *[(["sample", name], 2) for name in (".", "/", "", "F/half", "F/deepest", "F/x", "F/linked")],
    *[(["export", "studies", name, "--store", "S"], 2) for name in ("F/x", "F/linked", "F/\udcff")],
    (["catalog", "F/\udcff.duckdb", "--store", "S"], 2),
    *[
        (["models", "--store", "S", "--set", f"register.tracking_uri={uri}"], 2)
        for uri in ("ftp://x.example", "file:///etc", "'a b'")
    ],
    *[(["serve-parser", "--host", name], 2) for name in ("a\0b", "\udcff")],
    (["sql", "SELECT 'infinity'::timestamp", "--json", "--store", "S"], 2),
    (["sql", "SELECT date '290000-01-01'", "--csv", "--store", "S"], 2),
]
# refused by the parser of the command line, which draws a box
ODD_NUMBERS = [
    ["up", "--port", "99999"],
    ["up", "--port", "0"],
    ["up", "--mlflow-port", "70000"],
    ["up", "--pages-port", "-1"],
    ["check", "--port", "-5"],
    ["down", "--port", "99999"],
    ["sample", "--studies", "9" * 30, "x"],
    ["score", "a", "b", "--seed", "-1"],
    ["score", "a", "b", "--resamples", "9" * 12],
    ["sql", "SELECT 1", "--memory", "inf"],
    ["view", "studies", "--limit", "9" * 30],
    ["sql", "SELECT 1", "--memory", "1e300"],
    ["sql", "SELECT 1", "--limit", "9" * 30],
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("named")
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    os.mkfifo(root / "pipe")
    (root / "linked.partial").symlink_to(root / "x.partial")
    rows = [study_row(name, {"Edema": YES}) for name in ("1", "DOE-12345")]
    write_version(open_store(str(root / "store")), "studies", rows, STUDIES, fingerprint="f")
    return root


@pytest.mark.parametrize(("words", "code"), WRONG, ids=[ascii(" ".join(words))[:70] for words, _ in WRONG])
def test_each_is_one_line(words: list[str], code: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRRG_SERVE_TOKEN", "x" * 40)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    places = {"F": str(folder), "S": str(folder / "store")}
    words = [re.sub("^([FS])(?=/|$)", lambda found: places[found[1]], word) for word in words]
    ended, text = run(words, monkeypatch)
    assert ended == code, text
    assert re.fullmatch(r"(\x1b\[31m)?error: [^\n]*\n?(\x1b\[0m)?\n?", text), text
    assert (folder / "x.partial" / "thesis.txt").exists(), "files of others are not cleared away"


@pytest.mark.parametrize("words", ODD_NUMBERS, ids=" ".join)
def test_an_odd_number_is_refused_before_any_work(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = run([word[:20] if len(word) > 200 else word for word in words], monkeypatch)
    assert code == 2
    assert "Invalid value" in text


def test_a_page_takes_the_place_of_a_file_or_a_link_and_of_nothing_else(tmp_path: Path) -> None:
    kept, link = tmp_path / "kept", tmp_path / "page.html"
    kept.write_text("kept")
    link.symlink_to(kept)
    write_given_file(link, "half \ud83d of a pair")
    assert (link.read_text(), kept.read_text(), link.is_symlink()) == ("half \\ud83d of a pair", "kept", False)
    write_given_file(link, b"again")
    assert link.read_bytes() == b"again"
    with pytest.raises(ConfigError, match="is no regular file"):
        write_given_file("/dev/null", "x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    stream = tmp_path / "stdout"
    stream.symlink_to(f"/proc/self/fd/{kept.open().fileno()}")  # as /dev/stdout, of which a file would take the place
    with pytest.raises(ConfigError, match="is a stream: give the name of a file"):
        write_given_file(stream, "x")
    with pytest.raises(ConfigError, match="kept is not a folder"):
        write_given_file(kept / "page" / "index.html", "x")


class FullStream(io.StringIO):
    """As /dev/full: its error has no name of a file."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_stream_on_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", FullStream())
    code, text = run(["config"], monkeypatch)
    assert code == 75
    assert "a stream: No space left on device" in text


@pytest.mark.parametrize(("place", "code"), [("/proc", 75), ("/nowhere/at/all", 2)])
def test_a_run_without_room_for_temporary_files_does_not_start(
    place: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", place)
    words = ["run", "--source-root", str(tmp_path), "--store", str(tmp_path / "store")]
    ended, text = run(words, monkeypatch)
    assert (ended, place in text) == (code, True), text


def test_closed_standard_input_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert run(["parse-text"], monkeypatch)[0] == 2


@pytest.mark.parametrize(
    "constant",
    [
        "length(repeat('x', 3000000000))",
        "len(range(500000000))",
        "len(list_resize([1], 1000000000, 0))",
        "length(format('{:2000000000}', 1))",
        "len(repeat([1, 2], 500000000))",
    ],
)
def test_a_constant_that_needs_gigabytes_to_plan_is_refused(
    constant: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    words = ["sql", f"SELECT {constant}", "--memory", "0.3", "--store", str(folder / "store")]
    code, text = run(words, monkeypatch)
    assert (code, "it needs more memory than is allowed" in text) == (2, True), text
    assert resource.getrlimit(resource.RLIMIT_AS) == before


@pytest.mark.parametrize(
    "expression",
    [
        "error(study_id)",
        "CAST(study_id AS DATE)",
        "CAST(study_id AS UUID)",
        "CAST(right(study_id, 5) AS TINYINT)",
        "CAST(CAST(right(study_id, 5) AS BIGINT) AS TINYINT)",
        "9223372036854775807 * CAST(right(study_id, 5) AS BIGINT)",
        "chr(99999999 + CAST(right(study_id, 5) AS INTEGER))",
    ],
)
def test_no_message_of_a_query_quotes_a_value(expression: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    query = f"SELECT {expression} FROM studies WHERE study_id LIKE 'DOE%'"
    code, text = run(["sql", query, "--csv", "--store", str(folder / "store")], monkeypatch)
    assert code == 2
    assert not re.search("DOE-12345|12345", text), text


def test_a_query_that_does_not_listen_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr("flows.cli.bounded_process._GRACE_S", 0.0)
    with bounded_process(4.0, 0.01):
        while not ended:
            pass
    assert ended == [2]
