"""Relations of facts where the words say them, and codes of findings that two sources agree in."""

import json
import re

import pytest

from trrg_core.report.codes import SYSTEMS, load_codes, read_codes
from trrg_core.report.jsonl import parse_jsonl
from trrg_core.report.lexicon import load_lexicon
from trrg_core.report.parser import ReportParser
from trrg_core.report.relations import SUGGESTIVE_OF, relations_of

PARSER = ReportParser()
FORMS = {"umls": r"C\d{7}", "snomed_ct": r"\d{6,18}", "radlex": r"RID\d{1,6}"}


def suggestions(text: str) -> set[tuple[str, str]]:
    found = set()
    for sentence in PARSER.parse(text).sentences:
        names = [mention.finding for mention in sentence.mentions]
        for relation in relations_of(sentence):
            if relation.kind == SUGGESTIVE_OF and relation.target is not None:
                found.add((names[relation.source], names[relation.target]))
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Opacity suggestive of pneumonia.", {("opacity", "pneumonia")}),
        ("Right opacity, likely atelectasis.", {("opacity", "atelectasis")}),
        (
            "Opacity which may represent atelectasis or pneumonia.",
            {("opacity", "atelectasis"), ("opacity", "pneumonia")},
        ),
        ("Interstitial opacities consistent with mild edema.", {("interstitial_disease", "edema")}),
        ("No opacity to suggest pneumonia.", set()),
        ("Opacity, not suggestive of pneumonia.", set()),
        ("Opacity and effusion.", set()),
        ("Opacity; pneumonia is likely.", set()),
    ],
)
def test_what_a_finding_suggests(text: str, expected: set[tuple[str, str]]) -> None:
    assert suggestions(text) == expected


def test_a_line_tells_relations_and_codes() -> None:
    text = "Opacity at the left base suggests pneumonia. No effusion at the right base."
    (record,) = parse_jsonl([json.dumps({"id": 1, "text": text})], PARSER)
    first, second = record["sentences"]
    assert {"relation": "suggestive_of", "from": 0, "to": 1} in first["relations"]
    assert {"relation": "located_at", "from": 0, "anatomy": "lung base", "laterality": "left"} in first["relations"]
    assert second["relations"] == []
    assert first["mentions"][1]["codes"] == {"umls": "C0032285", "snomed_ct": "233604007", "radlex": "RID5350"}


def test_every_code_has_its_form_and_two_sources() -> None:
    content = read_codes()
    used = set()
    for finding, codes in content["findings"].items():
        assert finding in load_lexicon().kinds
        for system, entry in codes.items():
            assert system in SYSTEMS
            assert re.fullmatch(FORMS[system], entry["code"]), (finding, system)
            assert entry["name"]
            assert len(set(entry["sources"])) == 2
            used.update(entry["sources"])
    assert used == set(content["sources"])


def test_no_two_findings_share_a_code() -> None:
    listed = [(system, code) for codes in load_codes().values() for system, code in codes.items()]
    assert len(listed) == len(set(listed))
