"""The words without which steps are left out: with every step taken the same is read."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.bench.challenge_rows import FOLDER, read_rows
from trrg_core.report import scan, telling_words
from trrg_core.report.lexicon import load_lexicon
from trrg_core.report.mentions import find_mentions
from trrg_core.report.scan import Plain, plain_sentence, scan_sentence
from trrg_core.report.telling_words import ANY_WORD, LEFT, NOT, STAND_IN

TABLE = Path(__file__).with_name("sentences.txt")


class EveryWord(Plain):
    """A sentence that is taken to have every telling word."""

    @property
    def words(self) -> int:  # type: ignore[override]
        return ANY_WORD

    @words.setter
    def words(self, value: int) -> None:
        pass


def sentences() -> Iterator[str]:
    yield from (line.split(" =>")[0] for line in TABLE.read_text("utf-8").splitlines() if " =>" in line)
    for path in sorted(FOLDER.glob("challenge*.txt")):
        yield from (row.text for row in read_rows(path))


def test_leaving_steps_out_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lexicon, texts = load_lexicon(), list(sentences())
    read = [find_mentions(text, lexicon) for text in texts]

    def with_every_word(sentence: str) -> Plain:
        plain = plain_sentence(sentence)
        return EveryWord(plain.text, plain.offsets)

    monkeypatch.setattr(scan, "plain_sentence", with_every_word)
    in_full = [find_mentions(text, lexicon) for text in texts]
    assert len(texts) > 3_000
    assert [text for text, one, two in zip(texts, read, in_full, strict=True) if one != two] == []


def test_a_scan_notes_the_telling_words_as_whole_words() -> None:
    words = scan_sentence("No consolidation (left), but another one.", load_lexicon(), everything=True).plain.words
    assert words & LEFT
    assert words & STAND_IN
    assert not words & NOT
    assert not scan_sentence("Leftward phone item.", load_lexicon(), everything=True).plain.words & (LEFT | STAND_IN)


def test_every_telling_word_is_noted() -> None:
    lexicon = load_lexicon()
    for word in telling_words.telling_words():
        noted = scan_sentence(f"Effusion {word} x", lexicon, everything=True).plain.words
        assert noted & telling_words.words_of(word) == telling_words.words_of(word) != 0
