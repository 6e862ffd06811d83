"""Rows of `reports`: what a column of sentences states is what its mentions state, one by one."""

from dataclasses import replace
from itertools import product

import pyarrow as pa

from tests.core.toy_versions import LABEL_SET, MAYBE, NO, YES, report_row
from trrg_core.report.parsed import Mention
from trrg_core.tables.rows.report_row import parsed_report, sentence_facts
from trrg_core.tables.rows.shard_row import stated_facts
from trrg_core.tables.schema import reports_schema

ASIDES = [
    {"historical": historical, "hypothetical": hypothetical, "experiencer": experiencer}
    for historical, hypothetical, experiencer in product((False, True), (False, True), ("patient", "mother"))
]


def _rows() -> list[dict]:
    """One report per combination of the fields that decide whether a mention is a current fact."""
    rows = [report_row(f"{at}", {"Edema": NO, "Pneumonia": YES, "Cardiomegaly": MAYBE}) for at in range(len(ASIDES))]
    for row, aside in zip(rows, ASIDES, strict=True):
        row["sentences"][1]["mentions"][0] |= aside
        row["sentences"][2]["mentions"][0]["observations"] = ["Cardiomegaly", "Enlarged Cardiomediastinum"]
        row["sentences"][2]["mentions"] = 2 * row["sentences"][2]["mentions"]
    rows[-1]["sentences"] = []
    return rows


def test_facts_of_a_column_are_those_of_its_mentions() -> None:
    table = pa.Table.from_pylist(_rows(), schema=reports_schema(LABEL_SET)).slice(1)
    for row, sentences in zip(_rows()[1:], sentence_facts(table["sentences"]).to_pylist(), strict=True):
        assert len(sentences) == len(row["sentences"])
        for sentence, stated in zip(row["sentences"], sentences, strict=True):
            once = [fact for at, fact in enumerate(stated["facts"]) if fact not in stated["facts"][:at]]
            assert once == stated_facts(sentence["mentions"])


def test_only_one_combination_of_the_deciding_fields_is_a_current_fact() -> None:
    mention = Mention(finding="edema", start=0, end=5, assertion=YES, rule="toy")
    current = [aside for aside in ASIDES if replace(mention, **aside).is_current]
    assert current == [{"historical": False, "hypothetical": False, "experiencer": "patient"}]
    stated = {"observations": ["Edema"], "assertion": YES, "laterality": "", "severity": "", "anatomy": ""}
    assert [bool(stated_facts([aside | stated])) for aside in ASIDES] == [aside in current for aside in ASIDES]


def test_a_row_becomes_a_parsed_report_again() -> None:
    row = pa.Table.from_pylist(_rows()[:1], schema=reports_schema(LABEL_SET)).to_pylist()[0]
    report = parsed_report(row)
    assert [sentence.text for sentence in report.sentences] == [sentence["text"] for sentence in row["sentences"]]
    assert [mention.finding for mention in report.sentences[2].mentions] == ["cardiomegaly", "cardiomegaly"]
    assert (report.labels["edema"], report.labels["pleural_effusion"]) == (0, None)
    assert report.parser_id == "toy-1"
