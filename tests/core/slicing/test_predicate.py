import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import numpy as np
import pytest

from tests.core.invented_shards import study, table_of
from trrg_core.errors import ConfigError
from trrg_core.slicing import predicate
from trrg_core.slicing.predicate import matching_rows, query_labels

ROWS = table_of(
    [study("s1", "Edema+", words=4), study("s2", "Edema-", words=6), study("s3", words=9), study("s4", "Edema?")]
).rows


@pytest.mark.parametrize(
    ("where", "chosen"),
    [
        ("", [1, 1, 1, 1]),
        ("  \n", [1, 1, 1, 1]),
        ("edema = 1", [1, 0, 0, 0]),
        ("edema IS NULL", [0, 0, 1, 0]),
        ("edema <> 1", [0, 1, 0, 1]),
        ("num_words BETWEEN 4 AND 6 AND NOT edema = 1", [0, 1, 0, 0]),
        ("edema = 1 -- a comment", [1, 0, 0, 0]),
        ("study_id IN ('s2', 's9') OR edema_present > 0", [1, 1, 0, 0]),
        ("subject_id IN (SELECT subject_id FROM labels WHERE num_words > 4)", [0, 1, 1, 0]),
        ("list_sum(denials) > 0", [0, 1, 0, 0]),
        ("upper(study_id) LIKE 'S%' AND length(study_id) = 2 AND num_words % 2 = 0", [1, 1, 0, 0]),
        ("CASE WHEN edema = 1 THEN true ELSE num_words > 8 END AND coalesce(edema, 1) = 1", [1, 0, 1, 0]),
        ("num_words = (SELECT max(l.num_words) FROM labels AS l JOIN labels AS m USING (study_id))", [0, 0, 1, 0]),
        ("study_id IN (SELECT study_id FROM labels UNION SELECT 'x')", [1, 1, 1, 1]),
        ("CAST(num_words AS DOUBLE) / 2 > 2.5 AND num_words NOT IN (9)", [0, 1, 0, 0]),
        ("num_words > (SELECT avg(num_words) FROM labels)", [0, 1, 1, 0]),
    ],
)
def test_a_predicate_chooses_the_rows_for_which_it_is_true(where: str, chosen: list[int]) -> None:
    assert matching_rows(ROWS, where).astype(int).tolist() == chosen


REFUSED = {
    "replace(replace('aaa', 'a', 'bbb'), 'b', 'ccc') = study_id": "replace within replace",
    "CAST(study_id AS INTEGER) = 1": "convert string '...'",
    "edma = 1": "edma",
    "edema = ": "syntax",
    "edema = 1; DROP TABLE labels": "one statement",
    "1 = 1) OR (SELECT 1": "syntax",
    "edema = 1) -- (": "syntax",
    "edema, num_words": "single expression",
    "count(*) > 1": "aggregates",
    "'text'": "Could not convert",
    "random() < 0.5": "random",
    "now() > TIMESTAMP '2020-01-01'": "now",
    "current_date > DATE '2020-01-01'": "current_date",
    "uuid() > 'a'": "uuid",
    "setseed(0.1) IS NULL": "setseed",
    "current_setting('threads') = '1'": "current_setting",
    "sleep_ms(10) IS NULL": "sleep_ms",
    "study_id IN (SELECT study_id FROM labels USING SAMPLE 1)": "sample",
    "1 IN (SELECT 1 FROM read_csv('/etc/hosts'))": "nothing else",
    "1 IN (SELECT 1 FROM '/etc/hosts')": "nothing else",
    "1 IN (SELECT 1 FROM duckdb_settings())": "nothing else",
    "1 IN (SELECT 1 FROM information_schema.tables)": "nothing else",
    "1 IN (SELECT 1 FROM ROWS)": "nothing else",
    "getenv('HOME') = 'x'": "getenv",
    "age(DATE '2020-01-01') > INTERVAL 1 YEAR": "age",
    "md5(study_id) > 'a'": "the function md5 is not allowed; allowed are abs",
    "num_words > date_part('year', DATE '2020-01-01')": "date_part is not allowed",
    "CAST(study_id AS DATE) IS NULL": "a cast to dates",
    "TIMESTAMP '2020-01-01' IS NULL": "a cast to dates",
    "1 IN (WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n FROM t) SELECT n FROM t)": "WITH",
    "list_sum(list_transform(denials, x -> x)) > 0": "not allowed",
    "1 IN (SELECT len(s) FROM (SELECT s || s AS s FROM (SELECT study_id AS s FROM labels)))": "not another subquery",
    "1 IN (SELECT n FROM (SELECT 1 FROM labels) AS t(n))": "not another subquery",
    "1 IN (SELECT n FROM labels, (SELECT 1) AS t(n))": "not another subquery",
    "1 IN (SELECT n FROM (VALUES (1)) AS t(n))": "not another subquery",
    "EXISTS (SELECT study_id AS s, s || s AS t, t || t AS u FROM labels)": "without a name",
    f"replace(study_id, 'a', '{'b' * 5000}') = 'x'": "with replace 1,000 at most",
    f"study_id || 'x' = 'x'{' OR true' * 1400}": "with || 10,000 at most",
    f"upper(CASE WHEN edema = 1 THEN '{'b' * 1001}' END) = 'x'": "a text in it has more than 1,000",
    "1 IN (SELECT row_number() OVER () FROM labels)": "row_number is not allowed",
}


@pytest.mark.parametrize("where", REFUSED)
def test_what_is_no_lasting_predicate_over_labels_is_refused(where: str) -> None:
    with pytest.raises(ConfigError) as error:
        matching_rows(ROWS, where)
    assert "`where` was refused" in str(error.value)
    assert REFUSED[where] in str(error.value)


def test_a_predicate_that_takes_too_long_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predicate, "DEADLINE_S", 0.3)
    many = ROWS.take(np.tile(np.arange(4), 20_000))
    pairs = "1 < (SELECT sum(a.num_words * b.num_words % 7) FROM labels a, labels b, labels c)"
    start = time.monotonic()
    with pytest.raises(ConfigError, match=r"`where` was stopped: it took longer than 0\.3 s"):
        matching_rows(many, pairs)
    assert time.monotonic() - start < 20


def test_a_predicate_cannot_write(tmp_path: Path) -> None:
    target = tmp_path / "stolen.csv"
    for where in (f"(COPY labels TO '{target}')", f"1 IN (SELECT 1 FROM (COPY labels TO '{target}'))"):
        with pytest.raises(ConfigError, match="refused"):
            matching_rows(ROWS, where)
    with pytest.raises(ConfigError, match="one SELECT"):
        query_labels(ROWS, f"COPY labels TO '{target}'")
    assert list(tmp_path.iterdir()) == []


def test_rows_keep_their_order_whatever_their_number() -> None:
    many = ROWS.take(np.tile(np.arange(4), 50_000))
    assert matching_rows(many, "edema = 1").reshape(-1, 4).tolist() == [[True, False, False, False]] * 50_000


def test_one_select_is_answered() -> None:
    answer = query_labels(ROWS, "SELECT count(*) AS n, avg(num_words) AS words FROM labels WHERE edema IS NOT NULL")
    assert answer.to_pylist() == [{"n": 3, "words": pytest.approx(13 / 3)}]


def test_queries_at_once_share_a_database_and_see_their_own_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    query_labels(ROWS, "SELECT 1")
    monkeypatch.setattr(duckdb, "connect", None)  # a second database is not made
    sizes = (1, 2, 3, 4) * 5

    def count(size: int) -> int:
        found: int = query_labels(ROWS.slice(0, size), "SELECT count(*) AS n FROM labels")["n"][0].as_py()
        return found

    with ThreadPoolExecutor(4) as pool:
        assert tuple(pool.map(count, sizes)) == sizes
    assert matching_rows(ROWS.slice(1), "num_words > 5").tolist() == [True, True, False]


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE labels",
        "SELECT 1; SELECT 2",
        "SET threads = 2",
        "ATTACH 'other.db'",
        "INSTALL httpfs",
        "PRAGMA database_list",
        "SELECT * FROM read_text('/etc/hosts')",
        "SELECT nonsense FROM labels",
        "",
    ],
)
def test_anything_but_one_select_over_labels_is_refused(sql: str) -> None:
    with pytest.raises(ConfigError):
        query_labels(ROWS, sql)


def test_no_allowed_function_gives_another_answer_every_time() -> None:
    assert not predicate._FUNCTIONS & predicate._volatile_functions()
