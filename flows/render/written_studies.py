"""Reports of a trained model as text: sentences with their status, and the clues with their probabilities and sides."""

from collections.abc import Iterator

from flows.render.plain_text import printable_line
from flows.render.terminal import Column, build_table, print_line, print_table
from trrg_core.clue import Clue
from trrg_core.evidence import Support, remarks_on
from trrg_core.generation.report_writer import WrittenStudy

_WORDS = {
    Support.SUPPORTED: "supported",
    Support.WEAK: "weak",
    Support.UNSUPPORTED: "UNSUPPORTED",
    Support.CONTRADICTED: "CONTRADICTED",
    Support.NOT_CHECKABLE: "not checkable",
}


def print_written(study: WrittenStudy, model: str) -> None:
    """Print one study: what wrote it, each sentence with its status, and the clues, furthest above threshold first."""
    views = ", ".join(film.view_position or "view unknown" for film in study.films)
    print_line(f"Study {printable_line(study.study_id)} ({views})")
    print_line(f"GENERATED REPORT by {printable_line(model)}. Not for clinical use.")
    if study.unread:
        names = printable_line(", ".join(film.name for film in study.unread))
        print_line(f"Not read, since the model takes {len(study.films)} views at most: {names}")
    for unusual in study.unusual:
        advice = "" if study.withheld else " Do not rely on this report."
        print_line(f"UNUSUAL IMAGE {printable_line(unusual.name)}: {unusual.message}.{advice}")
    print_line("")
    for status, probability, sentence in _lines(study):
        print_line(f"  {status:14}{probability:>4}  {sentence}")
    for clue in study.evidence.omitted:
        print_line(f"  {'OMITTED':14}{clue.probability:4.2f}  {clue.observation}, which the clues show")
    if study.withheld:
        print_line("To have one written all the same: --set generate.withhold_above=null")
        return
    print_line("")
    columns = (
        Column("clue", whole=True),
        Column("probability", number=True),
        Column("shown from", number=True),
        Column("left", number=True),
        Column("right", number=True),
        Column("shown", whole=True),
    )
    ordered = sorted(study.clues, key=lambda clue: clue.threshold - clue.probability)
    print_table(
        build_table(columns, [_row(clue, is_given=clue.observation in study.given_findings) for clue in ordered])
    )


def _lines(study: WrittenStudy) -> Iterator[tuple[str, str, str]]:
    """Status, probability and text of each sentence, and of text outside all: it is part of what the model wrote."""
    end = 0
    for item, remarks in zip(study.evidence.sentences, remarks_on(study.evidence), strict=True):
        if any(char.isalnum() for char in study.report[end : item.start]):
            yield "not parsed", "", study.report[end : item.start].strip()
        probability = "" if item.probability is None else f"{item.probability:.2f}"
        remarked = f" [{'; '.join(remarks)}]" if remarks else ""
        yield _WORDS[item.status], probability, study.report[item.start : item.end] + remarked
        end = item.end
    if any(char.isalnum() for char in study.report[end:]):
        yield "not parsed", "", study.report[end:].strip()


def _row(clue: Clue, *, is_given: bool) -> tuple[str, ...]:
    sides = ["" if side is None else f"{side:.2f}" for side in (clue.left, clue.right)]
    shown = " ".join(word for word in ("yes", clue.laterality) if word) if clue.is_shown else "no" if is_given else ""
    shown += ", given" if is_given else ""
    return clue.observation, f"{clue.probability:.2f}", f"{clue.threshold:.2f}", *sides, shown
