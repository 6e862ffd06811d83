"""The page of a drift, made of counts by hand."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli import app
from tests.core.toy_versions import NO, YES, write_chain
from trrg_core.label_stats.drift import compare_profiles, wilson
from trrg_core.label_stats.profile import Profile
from trrg_core.labels import Assertion
from trrg_core.pages.drift_page import DriftPage, render_drift
from trrg_core.storage.store import open_store


def profile(studies: int, edema: int) -> Profile:
    labels = {("Edema", YES): edema, ("Edema", NO): 40, ("Lung <b>", Assertion.UNCERTAIN): 0}
    return Profile(studies=studies, labels=labels, lengths={9: studies}, views={"PA": studies})


def test_the_page_shows_shares_with_intervals_and_what_moved() -> None:
    drift = compare_profiles(profile(200, 10), profile(100, 30))
    page = render_drift(DriftPage(before="shards@0", after="shards@1", split="train", drift=drift))
    assert "<title>Drift from shards@0 to shards@1</title>" in page
    assert "split train: 200 studies before, 100 after" in page
    assert "<strong>Edema PRESENT</strong>: share 5.00% -&gt; 30.00% (limit 1.5 times), PSI" in page
    row = re.search(r'<tr class="alarm".*?</tr>', page, re.DOTALL)
    assert row is not None
    assert "5.0% [2.7%, 9.0%]" in row[0]
    assert "30.0% [21.9%, 39.6%]" in row[0]
    assert "Stated in neither version: Lung &lt;b&gt;." in page
    assert "<script" not in page


def test_an_interval_of_a_share_is_that_of_wilson() -> None:
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20
    for count, total, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)):
        assert wilson(count / total, total) == pytest.approx((low, high), abs=1e-4)
    assert wilson(0.0, 0) == (0.0, 1.0)


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    write_chain(store, {"1": ("train", {"Edema": NO})})
    words = ["drift", "shards@0", "shards@0", "--store", store.uri, "--html", str(tmp_path / "out")]
    result = CliRunner().invoke(app, words)
    assert result.output.splitlines()[0] == str(tmp_path / "out" / "index.html")
    assert "0 of 45 shifts are an alarm." in (tmp_path / "out" / "index.html").read_text("utf-8")
