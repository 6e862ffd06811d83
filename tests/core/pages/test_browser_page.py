import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.core.toy_versions import LABEL_SET, MAYBE, NO, YES, report_row, study_row, write_chain, write_version
from trrg_core.errors import ConfigError
from trrg_core.labels import Label
from trrg_core.pages.browser import render_browser
from trrg_core.pages.browser_page import StudyFilter, build_browser_page
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.schema import SLICES, STUDIES, reports_schema
from trrg_core.tables.table_ref import TableRef

SAID = {
    "3": ("train", {"Edema": NO, "Pneumonia": YES}),
    "1": ("train", {"Edema": YES}),
    "2": ("test", {"Edema": MAYBE}),
}


class _Page(HTMLParser):
    """Every tag with its attributes, and the text by the tag it stands in."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.data.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(str(tmp_path / "store"))
    write_chain(store, SAID)
    return store


def _ids(store: Store, ref: str, **conditions: Any) -> list[str]:
    return [card.study_id for card in build_browser_page(store, TableRef.parse(ref), StudyFilter(**conditions)).cards]


@pytest.mark.parametrize("ref", ["studies@0", "reports@0", "shards@0"])
def test_every_table_of_the_chain_shows_the_same_studies_by_patient(store: Store, ref: str) -> None:
    page = build_browser_page(store, TableRef.parse(ref), StudyFilter())
    assert [card.study_id for card in page.cards] == ["1", "2", "3"]
    card = page.cards[2]
    assert (card.report, card.subject_id, card.split) == ("No edema. There is pneumonia.", "p3", "train")
    assert {name: label for name, label in card.labels.items() if label is not None} == {
        "Edema": Label.NEGATIVE,
        "Pneumonia": Label.POSITIVE,
    }
    assert [card.report[one.start : one.end] for item in card.sentences for one in item.mentions] == [
        "edema",
        "pneumonia",
    ]
    assert card.films[0].jpeg.startswith(b"\xff\xd8")
    assert page.num_matching == 3


@pytest.mark.parametrize(
    ("conditions", "ids"),
    [
        ({"finding": "edema"}, ["1", "2", "3"]),
        ({"finding": "Edema", "assertion": MAYBE}, ["2"]),
        ({"finding": "Edema", "assertion": NO, "split": "train"}, ["3"]),
        ({"finding": "Pneumonia", "split": "test"}, []),
        ({"split": "train"}, ["1", "3"]),
        ({"limit": 2}, ["1", "2"]),
    ],
)
def test_studies_are_chosen_by_label_split_and_number(store: Store, conditions: dict[str, Any], ids: list[str]) -> None:
    assert _ids(store, "shards@0", **conditions) == ids


def test_a_slice_shows_its_studies_and_how_often_it_has_them(store: Store) -> None:
    row = {"subject_id": "p3", "study_id": "3", "split": "train", "repeat": 2, "sentence_weights": [1.0, 1.0]}
    ref = write_version(store, "slices", [row], SLICES, fingerprint="s", parents=["shards@0"])
    page = build_browser_page(store, ref, StudyFilter())
    assert [(card.study_id, card.repeats) for card in page.cards] == [("3", 2)]
    assert "2 times in the slice" in render_browser(page)


def test_studies_without_a_parse_are_shown_plainly(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "other"))
    write_version(store, "studies", [study_row("1", {"Edema": NO})], STUDIES, fingerprint="s")
    page = build_browser_page(store, TableRef.parse("studies@0"), StudyFilter())
    assert (page.observations, page.cards[0].sentences, page.cards[0].report) == ((), (), "No edema.")
    assert "<mark" not in render_browser(page).split('<div id="list">')[1]
    with pytest.raises(ConfigError, match="its studies have no labels yet"):
        build_browser_page(store, TableRef.parse("studies@0"), StudyFilter(finding="Edema"))


@pytest.mark.parametrize(
    ("ref", "conditions", "reason"),
    [
        ("shards@0", {"finding": "Edemma"}, "did you mean 'Edema'"),
        ("shards@0", {"split": "trian"}, "no split 'trian'"),
        ("shards@0", {"assertion": YES}, "name the finding too"),
        ("shards@4", {}, "no version shards@4"),
    ],
)
def test_what_cannot_be_shown_is_refused(store: Store, ref: str, conditions: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        build_browser_page(store, TableRef.parse(ref), StudyFilter(**conditions))


def test_the_page_colours_what_is_asserted_and_keeps_the_text(store: Store) -> None:
    text = render_browser(build_browser_page(store, TableRef.parse("reports@0"), StudyFilter(finding="Pneumonia")))
    page = _Page(text.split('<div id="list">')[1])
    assert [mark["class"] for mark in page.all("mark")] == ["absent", "present"]
    assert page.all("mark")[1]["title"] == "pneumonia, present; rule toy"
    shown = "".join(page.data)
    assert "No edema (absent). There is pneumonia (present)." in shown
    assert page.all("article")[0]["data-labels"] == "pneumonia:present edema:absent"
    assert page.all("img")[0]["src"].startswith("data:image/jpeg;base64,/9j/")


def test_markup_in_a_report_is_text_and_nothing_else_can_run(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "hostile"))
    evil = '</p><script>alert(1)</script><img src=x onerror=alert(2)> " onclick="x" No edema.'
    row = report_row("1", {"Edema": NO})
    row["sentences"][0]["mentions"][0] |= {"start": len(evil) - 6, "end": len(evil) - 1, "rule": '"><script>'}
    study = study_row("1", {}, report=evil)
    study["images"][0] |= {"view_position": "<b>PA", "jpeg": b"GIF89a<script>"}
    write_version(store, "studies", [study], STUDIES, fingerprint="s")
    write_version(store, "reports", [row], reports_schema(LABEL_SET), fingerprint="r", parents=["studies@0"])
    text = render_browser(build_browser_page(store, TableRef.parse("reports@0"), StudyFilter()))
    page = _Page(text)
    assert len(page.all("script")) == 1
    assert not page.all("img")
    assert not page.all("b")
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [one["content"] for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert f"script-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"https?://", text)
