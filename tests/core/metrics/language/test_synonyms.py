import zipfile
from pathlib import Path

import pytest

from trrg_core.metrics.language import synonyms
from trrg_core.metrics.language.synonyms import write_synonyms

SETS = {
    "big": "1 2 3",
    "large": "2 4",
    "opacity": "5 6",
    "haze": "6 7",
    "lung": "8",
    "foot": "9",
    "pes": "9",
    "hope": "10",
    "spoonful": "11",
    "x-ray": "12",
    "film": "12 13",
    "heart_block": "3",
    "useless": "2",
}
EXCEPTIONS = "foot\nfeet\n"


@pytest.fixture
def jar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "meteor.jar"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("synonym/english.synsets", "".join(f"{word}\n{numbers}\n" for word, numbers in SETS.items()))
        file.writestr("synonym/english.exceptions", EXCEPTIONS)
    monkeypatch.setattr(synonyms, "package_file", lambda package, name: path)


@pytest.mark.usefixtures("jar")
@pytest.mark.parametrize(
    ("pieces", "kept"),
    [
        # set 2 makes them synonyms; 1, 3 and 4 have one word each
        ({"big", "large"}, {"big": "2", "large": "2"}),
        # an ending is taken off and another put on
        ({"opacities", "haze"}, {"opacity": "6", "haze": "6"}),
        # an irregular form; a base of two words is shared by them
        ({"feet", "pes"}, {"foot": "9", "pes": "9"}),
        ({"lung", "lungs"}, {"lung": "8"}),
        # a word is kept without its sets, because METEOR takes the first base that exists
        ({"hoping"}, {"hope": ""}),
        ({"spoonfuls", "spoonful"}, {"spoonful": "11"}),
        # with a hyphen it may be one word or two
        ({"x", "ray", "film"}, {"x-ray": "12", "film": "12"}),
        ({"heart", "block", "big"}, {"big": ""}),
        (set(), {}),
    ],
)
def test_sets_that_two_words_of_the_corpus_have_are_kept(
    pieces: set[str], kept: dict[str, str], tmp_path: Path
) -> None:
    assert write_synonyms(pieces, tmp_path) == len(kept)
    lines = (tmp_path / "english.synsets").read_text().splitlines()
    assert dict(zip(lines[::2], lines[1::2], strict=True)) == kept
    assert (tmp_path / "english.exceptions").read_text() == EXCEPTIONS
