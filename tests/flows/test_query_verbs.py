import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.cli import main
from tests.core.toy_versions import NO, YES, write_chain
from trrg_core.storage.store import open_store

Trrg = Callable[..., tuple[int, str, str]]


@pytest.fixture
def trrg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Trrg:
    monkeypatch.setattr("flows.cli._set_up", lambda: None)
    monkeypatch.setenv("NO_COLOR", "1")
    store = open_store(str(tmp_path / "store"))
    write_chain(store, {"1": ("train", {"Edema": NO, "Pneumonia": YES}), "3": ("test", {"Pneumonia": YES})})

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["trrg", *words, "--store", store.uri])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return call


VALUES = (
    "SELECT 1 AS n, 2 AS n, NULL AS none, 'a,\"b\"' AS text, [1, NULL] AS list, {'k': true} AS struct, "
    "'nan'::DOUBLE AS bad, DATE '2026-11-01' AS day, sum(2) AS total, INTERVAL 3 DAYS AS span"
)


def test_json_is_one_value_for_any_type(trrg: Trrg) -> None:
    code, out, _ = trrg("sql", VALUES, "--json")
    assert code == 0
    assert json.loads(out) == [
        {
            "n": 1,
            "n_2": 2,
            "none": None,
            "text": 'a,"b"',
            "list": [1, None],
            "struct": {"k": True},
            "bad": None,
            "day": "2026-11-01",
            "total": 2,
            "span": "0 months 3 days 0 s",
        }
    ]
    assert json.loads(trrg("sql", "SELECT 1 WHERE false", "--json")[1]) == []


def test_csv_has_every_row_and_a_table_the_first_ones(trrg: Trrg) -> None:
    rows = list(csv.reader(io.StringIO(trrg("sql", VALUES, "--csv")[1])))
    assert rows[0][:5] == ["n", "n", "none", "text", "list"]
    assert rows[1][:7] == ["1", "2", "", 'a,"b"', "[1, null]", '{"k": true}', "nan"]
    out = trrg("sql", "SELECT range AS n FROM range(3000)", "--csv")[1]
    assert out.splitlines() == ["n", *map(str, range(3000))]
    out = trrg("sql", "SELECT range AS n FROM range(10000000000)", "--limit", "2")[1]
    assert "the first 2 rows" in out
    assert trrg("sql", "SELECT 'x' AS a UNION ALL SELECT NULL")[1].count("NULL") == 1


def test_the_views_are_listed_and_can_be_asked(trrg: Trrg, tmp_path: Path) -> None:
    listed = json.loads(trrg("catalog", "--json")[1])
    assert [one["view"] for one in listed] == ["versions", "studies", "reports", "labels", "mentions"]
    for one in listed:
        out = trrg(
            "sql", f"SELECT {', '.join(json.dumps(name) for name in one['columns'])} FROM {one['view']}", "--json"
        )
        assert out[0] == 0, out[2]
        assert json.loads(out[1])
    assert "labels@2" in trrg("catalog")[1]
    code, out, _ = trrg("catalog", str(tmp_path / "trrg.duckdb"))
    assert (code, (tmp_path / "trrg.duckdb").exists()) == (0, True)
    assert "views and the table versions" in out


def test_what_is_wrong_ends_with_one_line(trrg: Trrg) -> None:
    for words in (("DELETE FROM labels",), ("FROM nurses",), ("SELECT 1", "--json", "--csv")):
        code, out, err = trrg("sql", *words)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert err.startswith("error: ")
