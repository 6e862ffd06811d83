"""spaCy and scispaCy beside the rules: a trained model widens recall, and tokens agree with the rules' spans."""

from pathlib import Path

import pytest

from trrg_core.errors import ConfigError
from trrg_core.labels import Assertion
from trrg_core.report.entities import UNLISTED, folder_sha256
from trrg_core.report.parser import ReportParser

spacy = pytest.importorskip("spacy")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as scispaCy ships them, on disk; its entities come from a ruler instead of training."""
    path = tmp_path_factory.mktemp("models") / "model"
    pipeline = spacy.blank("en")
    words = ["azygos lobe", "effusion pleural", "pleural effusion"]
    pipeline.add_pipe("entity_ruler").add_patterns([{"label": "ENTITY", "pattern": word} for word in words])
    pipeline.to_disk(path)
    return path


def test_a_model_adds_mentions_and_the_rules_assert_them(model: Path) -> None:
    parser = ReportParser("chexpert14", str(model), folder_sha256(model))
    plain = ReportParser()
    assert [one.mentions for one in plain.parse("No azygos lobe.").sentences] == [()]
    (mention,) = parser.parse("No azygos lobe.").sentences[0].mentions
    assert (mention.finding, mention.assertion, mention.rule) == (UNLISTED, Assertion.ABSENT, "absent.no")
    assert parser.parser_id.startswith(plain.parser_id)
    assert parser.parser_id != plain.parser_id


def test_what_the_rules_name_stays_theirs(model: Path) -> None:
    parser = ReportParser("chexpert14", str(model), folder_sha256(model))
    text = "Small pleural effusion without pneumothorax."
    assert parser.parse(text).sentences == ReportParser().parse(text).sentences


def test_a_model_that_is_not_the_one_asked_for_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="SHA-256"):
        ReportParser("chexpert14", str(model), "0" * 64)
    with pytest.raises(ConfigError, match="not a folder"):
        ReportParser("chexpert14", str(tmp_path / "none"), "0" * 64)


def test_mentions_begin_and_end_where_scispacy_tokens_do() -> None:
    from scispacy.custom_tokenizer import combined_rule_tokenizer

    tokenize = combined_rule_tokenizer(spacy.blank("en"))
    parser = ReportParser()
    lines = Path(__file__).with_name("sentences.txt").read_text("utf-8").splitlines()
    split = []
    for text in (line.split(" =>")[0] for line in lines if " =>" in line):
        document = tokenize(text)
        starts = {token.idx for token in document}
        ends = {token.idx + len(token) for token in document}
        for part in parser.parse(text).sentences:
            for one in part.mentions:
                if one.start not in starts or one.end not in ends:
                    split.append(text)
    # a stop with no space behind it: scispaCy keeps both words in one token, the rules do not
    assert split == ["No.effusion"]
