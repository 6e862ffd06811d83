import gzip
from pathlib import Path

import pytest

from trrg_core.metrics.language import paraphrases
from trrg_core.metrics.language.meteor_files import MeteorDictionaries

ENTRIES = [("0.9", "big heart", "large heart"), ("0.7", "doctor 's", "of doctor"), ("0.5", "can not", "ca n't")]


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.gz"
    path.write_bytes(gzip.compress("".join("\n".join(entry) + "\n" for entry in ENTRIES).encode()))
    monkeypatch.setattr(paraphrases, "package_file", lambda package, name: path)


@pytest.mark.usefixtures("table")
def test_files_that_were_begun_early_are_used_if_they_have_all_words(tmp_path: Path) -> None:
    dictionaries = MeteorDictionaries(tmp_path / "files", ["big, large heart", "house"])
    first = dictionaries.files_for(["large heart"])
    assert gzip.decompress(first.paraphrases.read_bytes()).count(b"\n") == 3 * 2  # a superset does no harm
    assert dictionaries.files_for(["heart ca n't can not -lrb-"]) == first  # as a tokenizer cuts it
    second = dictionaries.files_for(["doctor 's of heart"])
    dictionaries.close()
    assert second != first
    assert b"of doctor" in gzip.decompress(second.paraphrases.read_bytes())
    assert "doctor\n" in (second.synonyms / "english.synsets").read_text()
