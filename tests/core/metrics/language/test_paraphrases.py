import gzip
from pathlib import Path

import pytest

from trrg_core.metrics.language import paraphrases
from trrg_core.metrics.language.paraphrases import word_pieces, write_paraphrases

ENTRIES = [
    ("0.9", "big heart", "large heart"),
    ("0.8", "big heart", "big house"),
    ("0.7", "doctor 's", "of doctor"),
    ("0.6", "house", "heart"),
    ("0.5", "na\u00efve", "heart"),
    ("0.4", "well-aerated", "big"),
]


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.gz"
    path.write_bytes(gzip.compress("".join("\n".join(entry) + "\n" for entry in ENTRIES).encode()))
    monkeypatch.setattr(paraphrases, "package_file", lambda package, name: path)
    monkeypatch.setattr(paraphrases, "_BLOCK", 7)  # entries lie across blocks


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("texts", "kept"),
    [
        (["A big, large heart."], ["0.9", "0.5"]),
        (["doctor's of heart"], ["0.7", "0.5"]),
        (["aerated well big"], ["0.4"]),
        (["nothing of it"], []),
        ([""], []),
    ],
)
def test_an_entry_is_kept_if_all_of_its_words_occur(texts: list[str], kept: list[str], tmp_path: Path) -> None:
    target = tmp_path / "cut.gz"
    assert write_paraphrases(word_pieces(texts), target) == len(kept)
    lines = gzip.decompress(target.read_bytes()).decode().splitlines()
    assert [lines[place : place + 3] for place in range(0, len(lines), 3)] == [
        list(entry) for entry in ENTRIES if entry[0] in kept
    ]


def test_words_are_cut_where_a_normaliser_may_cut_them() -> None:
    assert word_pieces(["Heart's 1.5-cm", "heart"]) == {b"heart", b"s", b"1", b"5", b"cm"}


def test_a_word_of_other_letters_gives_the_ascii_words_that_meteor_may_cut_off_it() -> None:
    assert word_pieces(["5\u00b5m"]) == {"5\u00b5m".encode(), b"5", b"m"}
