import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path for folder in ("trrg_core", "pipelines", "flows", "infra", "tests") for path in (ROOT / folder).rglob("*.py")
)
OURS = [path for path in SOURCES if "tests" not in path.relative_to(ROOT).parts]
MAX_LINES = 400
NAMELESS = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers", "base", "core", "data2"}


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_there_is_code_to_look_at() -> None:
    assert len(OURS) > 100


def test_code_and_comments_are_ascii() -> None:
    assert not [_name(path) for path in SOURCES if not path.read_bytes().isascii()]


def test_no_module_is_too_long_to_read() -> None:
    lines = {_name(path): len(path.read_text("utf-8").splitlines()) for path in OURS}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


def test_every_module_has_a_name_that_says_something() -> None:
    assert not [_name(path) for path in OURS if path.stem in NAMELESS or path.parent.name in NAMELESS]


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (r"^\s*#\s*[-=#*]{4,}", "a banner"),
        (r"except( Exception)?:\s*(\n\s*)?pass\b", "a swallowed error"),
        (r"# type: ignore(?!\[)", "an ignore without its reason"),
        (r"#\s*noqa(?!:)", "an ignore without its rule"),
    ],
)
def test_the_house_has_none_of(pattern: str, why: str) -> None:
    found = [_name(path) for path in OURS if re.search(pattern, path.read_text("utf-8"), re.M)]
    assert not found, why
