from pathlib import Path

import pyarrow as pa

from trrg_core.sources.increment import IndexedFile, plan_increment
from trrg_core.study import Study
from trrg_core.tables.parquet import Part


def study(name: str) -> Study:
    return Study(subject_id=f"p{name}", study_id=name, split="train", report_path="r.txt")


def file(path: str, **stamps: str) -> IndexedFile:
    rows = pa.table({"study_id": list(stamps), "source_stamp": list(stamps.values())})
    return IndexedFile(part=Part(path=path, size=1, num_rows=len(stamps)), rows=rows)


BASE = [file("one", a="1", b="1"), file("two", c="1", d="1"), file("three", e="1")]


def planned(stamps: dict[str, str], reread: set[str] = frozenset()) -> tuple[list[str], dict[str, tuple], list[str]]:
    plan = plan_increment([study(name) for name in stamps], stamps, BASE, reread)
    cut = {file.part.path: study_ids for file, study_ids in plan.cut}
    return [file.part.path for file in plan.kept], cut, [study.study_id for study in plan.read]


def test_a_file_whose_rows_are_all_valid_is_kept() -> None:
    assert planned(dict.fromkeys("abcde", "1")) == (["one", "two", "three"], {}, [])


def test_a_changed_study_is_read_and_its_file_cut() -> None:
    assert planned(dict.fromkeys("abcde", "1") | {"b": "2"}) == (["two", "three"], {"one": ("a",)}, ["b"])


def test_a_removed_study_leaves_its_file_and_a_file_without_valid_rows_is_dropped() -> None:
    assert planned(dict.fromkeys("abc", "1")) == (["one"], {"two": ("c",)}, [])


def test_a_new_study_touches_no_file() -> None:
    assert planned(dict.fromkeys("abcdef", "1")) == (["one", "two", "three"], {}, ["f"])


def test_a_study_with_a_reject_is_read_again_though_nothing_changed() -> None:
    assert planned(dict.fromkeys("abcde", "1"), {"e", "x"}) == (["one", "two"], {}, ["e"])


def test_without_an_earlier_version_all_is_read(tmp_path: Path) -> None:
    plan = plan_increment([study("a")], {"a": "1"}, [])
    assert (plan.kept, plan.cut, [study.study_id for study in plan.read]) == ((), (), ["a"])
