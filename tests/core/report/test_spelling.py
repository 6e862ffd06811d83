"""Slips of typing are mended, real words are not, and offsets point at what was written."""

import pytest

from trrg_core.report import spelling
from trrg_core.report.lexicon import load_lexicon
from trrg_core.report.parser import ReportParser


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("no plerual effusino.", "no pleural effusion."),
        ("teh heart is enalrged,", "the heart is enlarged,"),
        ("mild atelectaisis", "mild atelectasis"),
        ("smalleffusion on the left", "small effusion on the left"),
        ("leftlower lobe", "left lower lobe"),
        ("the heartis large", "the heart is large"),
        ("isno effusion", "is no effusion"),
        ("bibasilaratelectasis", "bibasilar atelectasis"),
        ("noptx, noacute fracture", "no pneumothorax, no acute fracture"),
        ("the nodule hasn't grown", "the nodule has not grown"),
        ("atel ectasis at the base", "atelectasis at the base"),
        ("plural effusion", "pleural effusion"),
        ("no new monia,", "no pneumonia,"),
        ("granny loma in the media stynum", "granuloma in the mediastinum"),
        ("nopneumothorax", "no pneumothorax"),
        ("aspiration pna", "aspiration pneumonia"),
    ],
)
def test_a_slip_is_mended(written: str, read: str) -> None:
    mended = load_lexicon().spelling.mended(written)
    assert mended is not None
    text, offsets = mended
    assert text == read
    assert len(offsets) == len(text)
    assert list(offsets) == sorted(offsets)


@pytest.mark.parametrize(
    "text",
    [
        "history of confusion",
        "last night in a tight space",
        "nad",
        "a bright modular light",
        "4 cm, 12:30",
        "hypoinflated",
    ],
)
def test_a_real_word_is_left_as_it_is(text: str) -> None:
    assert load_lexicon().spelling.mended(text) is None


@pytest.mark.parametrize("word", ["plerual effusino", "pleural  effusino", "atel ectasis", "cardiomgaly"])
def test_a_mention_points_at_what_was_written(word: str) -> None:
    text = f"There  isno oedema; thereis  {word} today."
    mentions = [one for sentence in ReportParser().parse(text).sentences for one in sentence.mentions]
    assert [text[one.start : one.end] for one in mentions] == ["oedema", word]


def test_a_word_that_is_remembered_as_no_slip_can_still_be_half_of_one() -> None:
    lexicon = load_lexicon()
    assert lexicon.spelling.mended("the zzyzx ectasis") is None
    assert "zzyzx" in lexicon.spelling.known
    assert "ectasis" not in lexicon.spelling.known
    mended = lexicon.spelling.mended("the atel ectasis")
    assert mended is not None
    assert mended[0] == "the atelectasis"


def test_a_word_longer_than_any_two_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []
    shortened = spelling._shortened
    monkeypatch.setattr(spelling, "_shortened", lambda word, count: compared.append(word) or shortened(word, count))
    mended = load_lexicon().spelling.mended(f"{'a' * 300}is plerual effusino")
    assert mended is not None
    assert mended[0].endswith("is pleural effusion")
    assert {len(word) for word in compared} <= set(range(60))


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("small left bopacity.", "opacity"),
        ("small left xpacity.", "xpacity"),
        ("small left opacit.", "opacit"),
        ("small left opaciity.", "opaciity"),
        ("a lefteffusion today", "effusion"),
    ],
)
def test_a_mention_lies_where_its_word_was_written(written: str, found: str) -> None:
    (mention,) = ReportParser().parse(written).sentences[0].mentions
    assert written[mention.start : mention.end] == found
