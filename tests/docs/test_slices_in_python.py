"""The cells of docs/how-to/slices-in-python.md run in order and print what the page shows."""

import re
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.core import toy_versions
from tests.core.toy_versions import MAYBE, NO, YES, write_chain
from tests.docs.pages import ROOT
from trrg_core.labels import Assertion
from trrg_core.storage.store import open_store

PAGE = ROOT / "docs" / "how-to" / "slices-in-python.md"
CELL = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)
NUM_STUDIES = 400
# share of the reports that affirm, suspect and deny
STATED = {
    "Pneumothorax": (0.04, 0.01, 0.50),
    "Edema": (0.16, 0.04, 0.30),
    "Cardiomegaly": (0.22, 0.02, 0.30),
    "Pneumonia": (0.08, 0.08, 0.25),
}


def _studies() -> dict[str, tuple[str, dict[str, Assertion]]]:
    chance = np.random.default_rng(11)
    studies = {}
    for number in range(NUM_STUDIES):
        split = "train" if number % 10 < 8 else ("validate" if number % 10 == 8 else "test")
        stated: dict[str, Assertion] = {}
        for name, (yes, maybe, no) in STATED.items():
            drawn = chance.random()
            if drawn < yes + maybe + no:
                stated[name] = YES if drawn < yes else MAYBE if drawn < yes + maybe else NO
        studies[f"{number:04d}"] = (split, stated)
    return studies


def test_the_cells_print_what_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(toy_versions, "shard_row", _with_other_views(toy_versions.shard_row))
    write_chain(open_store(str(tmp_path / "trrg-store")), _studies())
    page = PAGE.read_text("utf-8")
    cells = CELL.findall(page)
    assert len(cells) == len(re.findall("```python\n", page)) > 8
    names: dict[str, Any] = {}
    for code, shown in cells:
        printed = StringIO()
        with redirect_stdout(printed):
            exec(code, names)
        assert printed.getvalue() == shown, code


Rows = Callable[[str, Mapping[str, Assertion], str], dict[str, Any]]


def _with_other_views(make_row: Rows) -> Rows:
    """Every third film is AP."""

    def make(study_id: str, stated: Mapping[str, Assertion], split: str) -> dict[str, Any]:
        row = make_row(study_id, stated, split)
        return row | {"views": [row["views"][0] | {"view_position": "PA" if int(study_id) % 3 else "AP"}]}

    return make
