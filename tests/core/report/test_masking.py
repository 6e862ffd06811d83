"""What may become a token of a tokenizer that is trained on a corpus, and what may not."""

import pytest

from trrg_core.report.masking import find_names, mask_corpus, mask_identifiers
from trrg_core.training.tokenization import train_tokenizer

REPORT = "The heart is normal. No pleural effusion. "

MASKED = [
    ("Discussed with Dr. Zyxwolf at 10:45.", "Zyxwolf"),
    ("DISCUSSED WITH DR. ZYXWOLF.", "ZYXWOLF"),
    ("The findings were told to Zyxwolf by phone.", "Zyxwolf"),
    ("Seen in Zyxwolf-Qarthene, an outside hospital.", "Qarthene"),
    ("Comparison with the film of Maria O'Zyxwolf.", "Zyxwolf"),
    ("Patient name: Zyxwolf, Maria.", "Zyxwolf"),
    ("Signed by: Zyxwolf Qarthene MD", "Qarthene"),
    ("The film of Zyxw\N{LATIN SMALL LETTER O WITH DIAERESIS}lf is compared.", "lf"),
    ("MRN: 7364519.", "7364519"),
    ("Accession AB-7364519.", "7364519"),
    ("Order 73645 was read.", "73645"),
    ("Compared with 03/17/2019.", "03/17/2019"),
    ("Operated on in 2019.", "2019"),
    ("Call 555-010-0199 or write to zyxwolf@example.org.", "zyxwolf"),
]
KEPT = [
    "A 1.5 cm nodule at T12, 3/4 of the hemithorax, 2010 mm.",
    "The tip of a Swan-Ganz catheter is in the right pulmonary artery.",
    "Tiny effusion with Kerley lines, a PICC and a Port-A-Cath.",
    "AP and PA views. CT is suggested. Heart size is normal.",
    "1. Small effusion. 2. No pneumothorax.",
    "FINDINGS: NO PNEUMOTHORAX IS SEEN.",
    "Discussed with Dr. ___ at ___ on ___.",
]


@pytest.mark.parametrize(("text", "secret"), MASKED)
def test_what_names_a_person_is_masked(text: str, secret: str) -> None:
    (masked,) = mask_corpus([text])
    assert secret.lower() not in masked.lower()
    assert "___" in masked


@pytest.mark.parametrize("text", KEPT)
def test_measures_eponyms_and_headings_are_kept(text: str) -> None:
    assert list(mask_corpus([text, REPORT])) == [text, REPORT]


def test_a_name_found_once_is_masked_wherever_it_stands() -> None:
    texts = ["Compared with the film of Zyxwolf.", "Zyxwolf: no change. zYXWOLF", "ZYXWOLF IS STABLE"]
    assert all("zyxwolf" not in text.lower() for text in mask_corpus(texts))


def test_a_word_that_is_also_written_small_is_no_name() -> None:
    assert find_names(["In the Lobe.", "The lobe is clear, seen by Zyxwolf."]) == {"zyxwolf"}
    assert mask_identifiers("Dr. Brown sees brown fluid.") == "___ sees brown fluid."


@pytest.mark.parametrize("lowercase", [False, True])
def test_no_token_spells_a_canary(lowercase: bool) -> None:
    canaries = "Reviewed with Dr. Zyxwolf and told to Qarthene on 03/17/2019, MRN 7364519."
    texts = [REPORT + canaries] * 50
    whole = train_tokenizer(texts, vocabulary_size=600, lowercase=lowercase)
    tokens = {token.strip("\u0120").lower() for token in whole.get_vocab()}
    assert "effusion" in tokens
    assert not [token for token in tokens for part in ("zyx", "qarth", "7364", "2019") if part in token]
    # the text itself still goes through it whole, in pieces
    decoded = whole.decode(whole(canaries)["input_ids"], skip_special_tokens=True)
    assert decoded.strip() == (canaries.lower() if lowercase else canaries)


def test_without_the_mask_the_canaries_are_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trrg_core.training.tokenization.mask_corpus", iter)
    tokenizer = train_tokenizer([REPORT + "Told to Zyxwolf."] * 50, vocabulary_size=600)
    assert "\u0120Zyxwolf" in tokenizer.get_vocab()
