"""One study as the template prints it: sentences split at their mentions, clues as bars, and its issues."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from trrg_core.clue import Clue
from trrg_core.evidence import SentenceEvidence, Support, remarks_on
from trrg_core.labels import DEGREE_OF_SEVERITY, column_name
from trrg_core.metrics.fact_errors import FactError
from trrg_core.pages.film_view import FilmsView, view_films
from trrg_core.pages.marked_text import Piece, cut_at_mentions, describe_mention
from trrg_core.pages.report_page import StudyPage
from trrg_core.report.parsed import Mention, Sentence

# what a reader should look at in a study; the keys are those of the page's filter
ISSUES: Mapping[str, str] = {
    "contradicted": "Contradicted by the clues",
    "unsupported": "Unsupported by the clues",
    "weak": "Weakly supported by the clues",
    "missed": "Missed finding",
    "invented": "Finding not in the reference",
    "self-contradiction": "Contradicts itself",
    "false-prior": "Compares with a missing prior",
    "made-up": "States what no film tells",
    "omitted": "Shown clue omitted",
    "attribute": "Other side, degree or change than the reference",
}
_ATTRIBUTES = (FactError.SIDE, FactError.DEGREE, FactError.CHANGE)

_DIFFERS = {
    FactError.HALLUCINATED: "not in the reference",
    FactError.AFFIRMED: "denied by the reference",
    FactError.DENIED: "affirmed by the reference",
    FactError.OMITTED: "left out",
    FactError.SIDE: "another side in the reference",
    FactError.DEGREE: "another degree in the reference",
    FactError.CHANGE: "change not in the reference",
}


@dataclass(frozen=True, kw_only=True)
class Line:
    """A sentence of a report; `status` is None for text without evidence (the reference, unparsed text).

    `probability` is that of the statement that decides the status; `flags` are further remarks, in words. `is_given`
    says whether a person gave a clue that it was checked against.
    """

    pieces: tuple[Piece, ...]
    status: Support | None = None
    probability: float | None = None
    flags: tuple[str, ...] = ()
    is_given: bool = False


@dataclass(frozen=True, kw_only=True)
class ClueBar:
    """A clue, and whether the report omits it although it is shown."""

    clue: Clue
    is_omitted: bool


@dataclass(frozen=True, kw_only=True)
class StudyView:
    """Content of one study's card. `issues` maps a key of `ISSUES` to its number of occurrences."""

    study: StudyPage
    films: FilmsView
    reference: tuple[Line, ...]
    hypothesis: tuple[Line, ...]
    clues: tuple[ClueBar, ...]
    issues: dict[str, int]
    findings: tuple[str, ...]

    @property
    def num_issues(self) -> int:
        """Total number of issues; the page sorts by it."""
        return sum(self.issues.values())


def view_study(study: StudyPage) -> StudyView:
    """`study` in the form that its card prints."""
    return StudyView(
        study=study,
        films=view_films(study.films, study.heat_maps, shown=_shown(study)),
        reference=tuple(Line(pieces=_pieces(sentence)) for sentence in study.reference),
        hypothesis=_hypothesis_lines(study),
        clues=_bars(study),
        issues=count_issues(study),
        findings=_findings(study),
    )


def _hypothesis_lines(study: StudyPage) -> tuple[Line, ...]:
    remarks = remarks_on(study.evidence)
    lines: list[Line] = []
    end = 0
    pairs = zip(study.hypothesis, study.evidence.sentences, strict=True)
    for index, (sentence, evidence) in enumerate(pairs):
        lines += _unparsed(study.hypothesis_text[end : sentence.start])
        lines.append(
            Line(
                pieces=_pieces(sentence, evidence),
                status=evidence.status,
                probability=evidence.probability,
                flags=(*remarks[index], *_differences(study, index)),
                is_given=any(item.clue and item.clue.observation in study.given for item in evidence.mentions),
            )
        )
        end = sentence.end
    return (*lines, *_unparsed(study.hypothesis_text[end:]))


def _differences(study: StudyPage, index: int) -> Iterator[str]:
    for item in study.disagreements:
        if index in item.sentences:
            yield f"{item.observation}: {_DIFFERS[item.error]}"


def _unparsed(text: str) -> list[Line]:
    # text outside every parsed sentence is still part of what the model wrote
    return [Line(pieces=(Piece(text=text.strip()),))] if any(char.isalnum() for char in text) else []


def _pieces(sentence: Sentence, evidence: SentenceEvidence | None = None) -> tuple[Piece, ...]:
    return cut_at_mentions(
        sentence.text, sentence.mentions, lambda mention: _note(mention, evidence), start=sentence.start
    )


def _note(mention: Mention, evidence: SentenceEvidence | None) -> str:
    words = describe_mention(mention)
    clue = next((item.clue for item in evidence.mentions if item.mention is mention), None) if evidence else None
    if clue is not None:
        side = f" {clue.laterality}" if clue.is_shown and clue.laterality else ""
        words.append(f"clue{side} {clue.observation} {clue.probability:.2f}, shown from {clue.threshold:.2f}")
        words += [_degree_note(clue, mention)] if mention.severity and clue.degrees else []
    return ", ".join(words)


def _degree_note(clue: Clue, mention: Mention) -> str:
    share = clue.degree_share(DEGREE_OF_SEVERITY.get(mention.severity, 0))
    return f"if present, this degree {share:.2f}"


def _bars(study: StudyPage) -> tuple[ClueBar, ...]:
    omitted = {clue.observation for clue in study.evidence.omitted}
    ordered = sorted(study.evidence.clues, key=lambda clue: clue.threshold - clue.probability)
    return tuple(ClueBar(clue=clue, is_omitted=clue.observation in omitted) for clue in ordered)


def count_issues(study: StudyPage) -> dict[str, int]:
    """The number of occurrences of each of `ISSUES` in a study; those that do not occur are left out."""
    statuses = [item.status for item in study.evidence.sentences]
    counts = {
        "contradicted": statuses.count(Support.CONTRADICTED),
        "unsupported": statuses.count(Support.UNSUPPORTED),
        "weak": statuses.count(Support.WEAK),
        "missed": len(study.missed),
        "invented": len(study.invented),
        "self-contradiction": len(study.evidence.contradictions),
        "false-prior": sum(item.false_prior for item in study.evidence.sentences),
        "made-up": sum(bool(item.invented) for item in study.evidence.sentences),
        "omitted": len(study.evidence.omitted),
        "attribute": sum(item.error in _ATTRIBUTES for item in study.disagreements),
    }
    return {key: count for key, count in counts.items() if count}


def _findings(study: StudyPage) -> tuple[str, ...]:
    mentioned = [
        item.clue.observation
        for sentence in study.evidence.sentences
        for item in sentence.mentions
        if item.clue is not None
    ]
    return _distinct(column_name(name) for name in (*_shown(study), *mentioned, *study.missed, *study.invented))


def _shown(study: StudyPage) -> tuple[str, ...]:
    """The findings that the clues show."""
    return tuple(clue.observation for clue in study.evidence.clues if clue.is_shown)


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
