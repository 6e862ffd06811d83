"""A written study as plain values for JSON: what `trrg generate --json` prints and the server answers with."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from trrg_core.clue import Clue
from trrg_core.evidence import MentionEvidence, SentenceEvidence, Support, remarks_on
from trrg_core.generation.film_reading import RejectedFilm
from trrg_core.generation.report_writer import WrittenStudy

_DIGITS = 4
_BY_SEVERITY = tuple(Support)


def study_record(study: WrittenStudy, *, model: str, rejected: Sequence[RejectedFilm] = ()) -> dict[str, Any]:
    """The record of one study.

    Args:
        study: what was written.
        model: what wrote it, e.g. `models:/trrg/3`.
        rejected: images of the study that were set aside.

    Returns:
        `id`, `report`, `clues` (finding, probability, left, right, degrees, and `given` where a person gave it),
        `evidence` (one entry per sentence and finding: sentence, finding, status, calibrated probability of the
        statement with its side and degree, null where no clue knows it, and remarks on the sentence),
        `omitted` (findings that the clues show and the report does not mention), `overruled` (findings of which the
        draft contradicted its clues, so that it was revised), `abstained` (findings that the report says cannot be
        assessed), `unusual` (images unlike those of training: name, deviation, above 1, and what each looks),
        `withheld` (whether no report was written for them; `report` says so), `unread_tokens` (of the context, at its
        end), `generated`, always true, `model`, and
        `films` (name, view, and whether the model read it), `set_aside` (name, reason).
    """
    return {
        "id": study.study_id,
        "report": study.report,
        "clues": [_clue(clue, is_given=clue.observation in study.given_findings) for clue in study.clues],
        "evidence": [
            {**entry, "remarks": list(remarks)}
            for sentence, remarks in zip(study.evidence.sentences, remarks_on(study.evidence), strict=True)
            for entry in _entries(sentence, study.report)
        ],
        "omitted": [clue.observation for clue in study.evidence.omitted],
        "overruled": list(study.overruled),
        "abstained": list(study.abstained),
        "unusual": [
            {"name": film.name, "deviation": round(film.deviation, 2), "looks": film.looks} for film in study.unusual
        ],
        "withheld": study.withheld,
        "unread_tokens": study.unread_tokens,
        "generated": True,
        "model": model,
        "films": [
            {"name": film.name, "view": film.view_position, "is_read": is_read}
            for films, is_read in ((study.films, True), (study.unread, False))
            for film in films
        ],
        "set_aside": _set_aside(rejected),
    }


def record_line(
    study_id: str, written: WrittenStudy | None, *, model: str, rejected: Sequence[RejectedFilm] = ()
) -> str:
    """The record of one study as a line of JSON; `report` is null where no image of it was usable."""
    if written is not None:
        record = study_record(written, model=model, rejected=rejected)
    else:
        lists = ("clues", "evidence", "omitted", "overruled", "abstained", "unusual")
        nothing: dict[str, Any] = {name: [] for name in lists} | {"withheld": False, "unread_tokens": 0}
        record = {"id": study_id, "report": None, **nothing, "generated": True, "model": model}
        record |= {"films": [], "set_aside": _set_aside(rejected)}
    return json.dumps(record)  # in ASCII: of a file name, a terminal obeys some characters, and others end a line


def _set_aside(rejected: Sequence[RejectedFilm]) -> list[dict[str, str]]:
    return [{"name": film.name, "reason": film.reason} for film in rejected]


def _clue(clue: Clue, *, is_given: bool) -> dict[str, Any]:
    return {
        "finding": clue.observation,
        "probability": _rounded(clue.probability),
        "left": _rounded(clue.left),
        "right": _rounded(clue.right),
        "degrees": [_rounded(share) for share in clue.degrees] if clue.degrees else None,
        **({"given": True} if is_given else {}),
    }


def _entries(sentence: SentenceEvidence, report: str) -> Iterator[dict[str, Any]]:
    """One entry per finding of a sentence, with the most severe status of its mentions; a single one without any.

    Of several with that status the least probable counts, as it does in a sentence.
    """
    text = report[sentence.start : sentence.end]
    found: dict[str, MentionEvidence] = {}
    for item in sentence.mentions:
        name = item.clue.observation if item.clue else item.mention.finding
        if name not in found or _severity(item) < _severity(found[name]):
            found[name] = item
    for name, item in found.items():
        yield {
            "sentence": text,
            "finding": name,
            "status": str(item.status),
            "probability": _rounded(item.probability),
        }
    if not found:
        yield {"sentence": text, "finding": None, "status": str(sentence.status), "probability": None}


def _severity(item: MentionEvidence) -> tuple[int, float]:
    return _BY_SEVERITY.index(item.status), 1.0 if item.probability is None else item.probability


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)
