"""Cases for `infra.bench.stress`: flipped and restyled reports, statements of a polarity probe, ranking cases.

Reports are invented. A flip turns one fact of a report round (`SentenceFlipper`); a restyled report states the same
signs and the same absences in the words and order of another invented radiologist.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from random import Random

import yaml

from trrg_core.labels import Assertion, LabelSet
from trrg_core.report.flipping.kinds import FlipKind
from trrg_core.report.flips import SentenceFlipper
from trrg_core.report.parsed import ParsedReport
from trrg_core.report.parser import ReportParser
from trrg_core.sources.sample import generate_studies
from trrg_core.sources.sample.findings_text import PART_OF, state_sign
from trrg_core.sources.sample.ground_truth import StudyTruth
from trrg_core.sources.sample.readers import READERS, Reader, choose_phrase
from trrg_core.sources.sample.wording import fill_phrase, load_phrases
from trrg_core.training.prompts import load_prompts

_DENIED = 3  # absences per report


@dataclass(frozen=True, kw_only=True)
class Styled:
    """The same facts as two invented radiologists write them."""

    text: str
    restyled: str


@dataclass(frozen=True, kw_only=True)
class FlippedReport:
    """A report with one fact turned round; `restyled` states the facts of `text` in another style."""

    kind: FlipKind
    text: str
    flipped: str
    restyled: str


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A report, and a true and a false short statement about one of its findings."""

    text: str
    true: str
    false: str


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """A reference and two reports, the first of which is the better one."""

    kind: str
    name: str
    reference: str
    better: str
    worse: str


def styled_reports(num_studies: int, seed: int) -> Iterator[Styled]:
    """Reports of invented studies in two styles; studies that state nothing are left out."""
    for study in generate_studies(num_studies, seed):
        rng = Random(f"stress/{seed}/{study.truth.study_id}")
        first, second = rng.sample(READERS, 2)
        absent = _choose_absent(study.truth, rng)
        texts = [_write(study.truth, absent, reader, rng) for reader in (first, second)]
        if all(texts):
            yield Styled(text=texts[0], restyled=texts[1])


def flipped_reports(reports: Sequence[Styled], parser: ReportParser, seed: int) -> Iterator[FlippedReport]:
    """One flip of each kind per report where it has any, of a finding that counts towards an observation."""
    flipper, rng = SentenceFlipper(parser), Random(seed)
    for report in reports:
        found: dict[FlipKind, list[str]] = {}
        for sentence in parser.parse(report.text).sentences:
            for flip in flipper.flips(sentence):
                if parser.label_set.observations_of(flip.finding):
                    flipped = report.text[: sentence.start] + flip.text + report.text[sentence.end :]
                    found.setdefault(flip.kind, []).append(flipped)
        for kind, texts in found.items():
            yield FlippedReport(kind=kind, text=report.text, flipped=rng.choice(texts), restyled=report.restyled)


def probes(reports: Sequence[tuple[str, ParsedReport]], label_set: LabelSet) -> Iterator[Probe]:
    """For each stated finding of a report its affirmation and its denial, the true one first."""
    prompts = dict(zip(label_set.observations, load_prompts(label_set.observations), strict=True))
    for text, parsed in reports:
        for name, label in parsed.labels.items():
            if name != label_set.no_finding and label in (0, 1):
                both = (prompts[name].present[0], prompts[name].absent[0])
                true, false = both if label == 1 else both[::-1]
                yield Probe(text=text, true=true, false=false)


def rankings() -> list[Ranking]:
    """The ranking cases of `ranking_cases.yaml`."""
    text = resources.files("infra.bench").joinpath("ranking_cases.yaml").read_text("utf-8")
    return [Ranking(**entry) for entry in yaml.safe_load(text)]


def _choose_absent(truth: StudyTruth, rng: Random) -> tuple[str, ...]:
    shown = {sign.finding for sign in truth.signs}
    # a consolidation beside a denied opacity would contradict itself
    lungs = any(PART_OF[name] == "lungs" for name in shown)
    free = [name for name in _phrases_by_finding() if name not in shown and not (lungs and PART_OF[name] == "lungs")]
    return tuple(rng.sample(sorted(free), min(_DENIED, len(free))))


def _phrases_by_finding() -> dict[str, list[tuple[str, int]]]:
    """The phrases that deny one finding alone, by finding, as (part, place)."""
    found: dict[str, list[tuple[str, int]]] = {}
    for part, phrases in load_phrases("absences").items():
        for place, phrase in enumerate(phrases):
            is_plain = not phrase.unless and all(fact.assertion is Assertion.ABSENT for fact in phrase.facts)
            if is_plain and len(phrase.facts) == 1:
                found.setdefault(phrase.facts[0].finding, []).append((part, place))
    return found


def _write(truth: StudyTruth, absent: Sequence[str], reader: Reader, rng: Random) -> str:
    """The certain signs without a change, and the absences, in the order of the reader."""
    absences, places = load_phrases("absences"), _phrases_by_finding()
    sentences: list[tuple[str, str]] = []
    for sign in truth.signs:
        if sign.assertion is Assertion.PRESENT and not sign.change:
            sentences.append((PART_OF[sign.finding], state_sign(sign, rng, reader).text))
    for name in absent:
        phrase = choose_phrase(rng, [absences[part][place] for part, place in places[name]], reader)
        sentences.append((PART_OF[name], fill_phrase(phrase, {}).text))
    order = {part: place for place, part in enumerate(reader.order)}
    return " ".join(text for _, text in sorted(sentences, key=lambda item: order[item[0]]))
