"""Forms and tables: each field, bracket and cell is a statement of its own."""

from pathlib import Path

import pytest

from infra.bench.challenge import read_facts
from infra.bench.challenge_rows import ChallengeRow, read_rows
from trrg_core.labels import Assertion
from trrg_core.report.parser import ReportParser

ROWS = {
    "Edema: present / Effusion: none / Nodule: absent": "+edema | -pleural_effusion | -nodule",
    "Devices: [chest tube removed] [ETT unchanged].": "-chest_tube | +endotracheal_tube stable",
    "Rib fracture? N Pneumothorax? N Effusion? Y": "-fracture | -pneumothorax | +pleural_effusion",
    "Edema? N; cardiomegaly? Y": "-edema | +cardiomegaly",
    "Effusion: -\\nCardiomegaly: +": "-pleural_effusion | +cardiomegaly",
    "Effusion size [none/small/large]: small\\nEffusion side [R/L]: L": "+pleural_effusion left small",
    "Opacity: present; Location: right base; Change: new; Edema: no": "+opacity right new | -edema",
    "| Finding | R | L |\\n|---|---|---|\\n| PTX | - | small |": "-pneumothorax right | +pneumothorax left small",
    "| Finding | R | L |\\n| PTX | none | none |": "-pneumothorax bilateral",
    "| Side | Effusion | Edema |\\n| Right | small | none |": "+pleural_effusion right small | -edema right",
    "| Item | Present | Position |\\n| ETT | yes | ok |\\n| NGT | no | n/a |": "+endotracheal_tube | -enteric_tube",
}


@pytest.mark.parametrize(("text", "facts"), ROWS.items())
def test_forms_and_tables_are_read(tmp_path: Path, text: str, facts: str) -> None:
    file = tmp_path / "rows.txt"
    file.write_text(f"## forms\n{text} => {facts}\n")
    row: ChallengeRow = next(read_rows(file))
    assert read_facts(ReportParser(), row) == row.facts


def test_what_was_told_of_the_past_is_no_fact_beside_its_denial() -> None:
    report = ReportParser().parse("A small left effusion was seen yesterday. It is no longer visible.")
    mentions = [one for sentence in report.sentences for one in sentence.mentions]
    assert [(one.assertion, one.laterality) for one in mentions] == [(Assertion.ABSENT, "left")]


def test_of_advice_only_what_is_asked_for_is_mentioned() -> None:
    text = "FINDINGS: No edema.\nRECOMMENDATION: CT if pulmonary embolism is suspected. Follow the right nodule."
    report = ReportParser().parse(text)
    mentions = [one for sentence in report.sentences for one in sentence.mentions if sentence.section != "findings"]
    assert [(one.finding, one.hypothetical) for one in mentions] == [("pulmonary_embolism", True)]
