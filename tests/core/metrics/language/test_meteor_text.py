import pytest

from trrg_core.metrics.language.meteor_text import normalise_plain


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("the lungs are clear", "the lungs are clear"),
        ("", ""),
        ("lungs clear . no effusion , none .", "lungs clear . no effusion , none ."),
        ("left-sided x-ray of 1.5-cm", "left sided x ray of 1.5 cm"),
        ("a-b-c", "a b-c"),
        ("v1.2 p.o", "v1.2 p.o"),
    ],
)
def test_a_plain_text_is_cut_at_hyphens(text: str, normalised: str) -> None:
    assert normalise_plain(text) == normalised


@pytest.mark.parametrize(
    "text",
    ["Lungs", "clear.", "-lrb-", "a--b", "patient 's", "s/p", "1,5", "caf\u00e9", "a  b", " a", "&amp;", "..", "a-"],
)
def test_any_other_text_is_left_to_meteor(text: str) -> None:
    assert normalise_plain(text) is None
