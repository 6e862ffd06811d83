"""ReXrank's JSON: one object per study, with the prediction beside the sections of the reference.

Its form, from the examples of github.com/rajpurkarlab/ReXrank: `{id: {"section_findings", "section_impression", ...,
"model_prediction"}}`. A file of references in that form keeps all of its fields.
"""

import json
from collections.abc import Mapping
from typing import Any

from trrg_core.metrics.report_files.report_file import ReportFile, Section

PREDICTION = "model_prediction"
_SECTIONS: Mapping[Section, str] = {"findings": "section_findings", "impression": "section_impression"}


def rexrank_to_bytes(predictions: ReportFile, references: ReportFile, *, section: Section) -> bytes:
    """The file's content: every reference that has a prediction, with all fields of its file.

    Args:
        predictions: texts of the predictions; a null one is written as "".
        references: their references.
        section: the section that the texts of the references are, where their file has no columns of sections.
    """
    studies = {
        key: _study(references, key, section) | {PREDICTION: predictions.texts[key] or ""}
        for key in references.texts
        if key in predictions.texts
    }
    return json.dumps(studies, ensure_ascii=False, indent=1).encode()


def _study(references: ReportFile, key: str, section: Section) -> dict[str, Any]:
    fields = {name: value for name, value in references.rows[key].items() if name not in ("id", PREDICTION, "text")}
    column = _SECTIONS.get(section, "report")
    if not {"report", *_SECTIONS.values()} & set(fields):
        fields[column] = references.texts[key] or ""
    if key in references.subjects:
        fields.setdefault("subject_id", references.subjects[key])
    # the script that scores a submission reads both sections
    return {**dict.fromkeys(_SECTIONS.values()), **fields}
