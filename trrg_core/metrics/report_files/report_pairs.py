"""Two files of reports -> pairs by id, with what has no partner listed."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from trrg_core.errors import DataError
from trrg_core.metrics.report_files.report_file import ReportFile


@dataclass(frozen=True, kw_only=True)
class ReportPairs:
    """The pairs of two files, in the order of the references.

    Args:
        ids: ids of the pairs.
        subject_ids: the patient of each, for the resamples; the id itself where no file has patients.
        references: texts of the references; none is blank.
        hypotheses: texts of the predictions; a null one is the empty report.
        unit: what the resamples draw.
        only_predicted: ids without a reference.
        only_referenced: ids without a prediction.
        empty_predictions: ids whose prediction is null or blank.
        empty_references: ids whose reference is null or blank; they are not scored.
        set_aside: rows of either file without a usable text, as (file, id or row, reason).
    """

    ids: tuple[str, ...]
    subject_ids: tuple[str, ...]
    references: tuple[str, ...]
    hypotheses: tuple[str, ...]
    unit: str
    only_predicted: tuple[str, ...]
    only_referenced: tuple[str, ...]
    empty_predictions: tuple[str, ...]
    empty_references: tuple[str, ...]
    set_aside: tuple[tuple[str, str, str], ...]

    def restrict(self, ids: Container[str]) -> "ReportPairs":
        """The pairs whose id is among `ids`."""
        kept = [place for place, key in enumerate(self.ids) if key in ids]
        return replace(
            self,
            ids=tuple(self.ids[place] for place in kept),
            subject_ids=tuple(self.subject_ids[place] for place in kept),
            references=tuple(self.references[place] for place in kept),
            hypotheses=tuple(self.hypotheses[place] for place in kept),
        )

    def to_json(self) -> dict[str, Any]:
        """What was paired and what was not, by id; no text."""
        return {
            "num_pairs": len(self.ids),
            "num_clusters": len(set(self.subject_ids)),
            "resampled": self.unit,
            "only_in_predictions": list(self.only_predicted),
            "only_in_references": list(self.only_referenced),
            "empty_predictions": list(self.empty_predictions),
            "empty_references": list(self.empty_references),
            "set_aside": [list(item) for item in self.set_aside],
        }


def pair_reports(predictions: ReportFile, references: ReportFile) -> ReportPairs:
    """The pairs of two files.

    Raises:
        DataError: if no id is in both files (`no_common_ids`), or every common reference is blank (`no_references`).
    """
    common = [key for key in references.texts if key in predictions.texts]
    if not common:
        raise DataError("no_common_ids", f"no id is in both files: {_sample(predictions)}; {_sample(references)}")
    scored = [key for key in common if references.texts[key] is not None]
    if not scored:
        raise DataError("no_references", f"{references.path}: all {len(common)} references are null or blank")
    subjects: Mapping[str, str] = {**predictions.subjects, **references.subjects}
    has_patients = all(key in subjects for key in scored)
    return ReportPairs(
        ids=tuple(scored),
        subject_ids=tuple(subjects[key] if has_patients else key for key in scored),
        references=tuple(references.texts[key] or "" for key in scored),
        hypotheses=tuple(predictions.texts[key] or "" for key in scored),
        unit="patients" if has_patients else "studies",
        only_predicted=tuple(key for key in predictions.texts if key not in references.texts),
        only_referenced=tuple(key for key in references.texts if key not in predictions.texts),
        empty_predictions=tuple(key for key in scored if predictions.texts[key] is None),
        empty_references=tuple(key for key in common if references.texts[key] is None),
        set_aside=tuple((file.path, *item) for file in (predictions, references) for item in file.set_aside),
    )


def pair_two(first: ReportFile, second: ReportFile, references: ReportFile) -> tuple[ReportPairs, ReportPairs]:
    """The pairs of two systems for the studies that both have predicted.

    Raises:
        DataError: as `pair_reports`, and if no scored id is in both (`no_common_ids`).
    """
    ours, theirs = pair_reports(first, references), pair_reports(second, references)
    common = set(ours.ids) & set(theirs.ids)
    if not common:
        raise DataError("no_common_ids", f"no scored id is in both: {_sample(first)}; {_sample(second)}")
    # patients count only if both systems have them, as they come from either file
    if ours.unit != theirs.unit:
        ours, theirs = (replace(one, subject_ids=one.ids, unit="studies") for one in (ours, theirs))
    return ours.restrict(common), theirs.restrict(common)


def _sample(file: ReportFile) -> str:
    named = ", ".join(islice(file.texts, 3))
    reasons = ", ".join(f"{count} {reason}" for reason, count in file.reasons.items())
    return (
        f"{file.path} has {len(file.texts)}"
        + (f" ({named})" if named else "")
        + (f", {reasons} set aside" if reasons else "")
    )
