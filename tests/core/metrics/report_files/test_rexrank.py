import json
from pathlib import Path

from trrg_core.metrics.report_files.report_file import ReportFile, read_report_file
from trrg_core.metrics.report_files.rexrank import rexrank_to_bytes


def test_a_file_of_rexrank_keeps_its_fields_and_gets_the_predictions(tmp_path: Path) -> None:
    studies = {
        "CXR1_IM-1": {
            "section_findings": "Clear.",
            "section_impression": "Normal.",
            "context": "Age:50",
            "split": "test",
        },
        "CXR2_IM-2": {"section_findings": "Edema.", "section_impression": None},
    }
    (tmp_path / "references.json").write_text(json.dumps(studies))
    references = read_report_file(str(tmp_path / "references.json"), role="references")
    predictions = ReportFile(path="p", texts={"CXR1_IM-1": "Lungs are clear.", "x": "y"})
    written = json.loads(rexrank_to_bytes(predictions, references, section="findings"))
    assert written == {"CXR1_IM-1": studies["CXR1_IM-1"] | {"model_prediction": "Lungs are clear."}}
    # and it is a file of both predictions and references
    (tmp_path / "both.json").write_text(json.dumps(written))
    for role, text in (("predictions", "Lungs are clear."), ("references", "Clear.")):
        assert read_report_file(str(tmp_path / "both.json"), role=role).texts == {"CXR1_IM-1": text}


def test_references_of_another_form_become_the_section_that_they_are(tmp_path: Path) -> None:
    (tmp_path / "references.csv").write_text("id,report,subject_id\n1,Clear.,p\n")
    references = read_report_file(str(tmp_path / "references.csv"), role="references")
    predictions = ReportFile(path="p", texts={"1": None})
    written = json.loads(rexrank_to_bytes(predictions, references, section="impression"))
    assert written["1"]["model_prediction"] == ""
    assert written["1"]["subject_id"] == "p"
