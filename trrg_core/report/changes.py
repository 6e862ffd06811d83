"""Differences of two parses of the same studies: changed labels by observation, changed mentions by rule."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest

from trrg_core.labels import Label
from trrg_core.report.parsed import ParsedReport


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Counts of changes between two parses. It holds no report text, so it may be logged and shown.

    `labels` is keyed by (observation, before, after), `rules` by (finding, assertion and rule before, and after)
    with "" where there was no such mention; `study_ids` are those with a changed label.
    """

    num_studies: int
    labels: Mapping[tuple[str, Label | None, Label | None], int]
    rules: Mapping[tuple[str, str, str], int]
    study_ids: tuple[str, ...] = ()
    only_before: tuple[str, ...] = field(default=())
    only_after: tuple[str, ...] = field(default=())


def compare_parses(before: Iterable[tuple[str, ParsedReport]], after: Iterable[tuple[str, ParsedReport]]) -> Changes:
    """What differs between two parses, given as (study_id, report) pairs in any order."""
    old, new = dict(before), dict(after)
    labels: Counter[tuple[str, Label | None, Label | None]] = Counter()
    rules: Counter[tuple[str, str, str]] = Counter()
    changed: list[str] = []
    shared = [study_id for study_id in old if study_id in new]
    for study_id in shared:
        differing = compare_labels(old[study_id].labels, new[study_id].labels)
        labels.update(differing)
        rules.update(_changed_rules(old[study_id], new[study_id]))
        if differing:
            changed.append(study_id)
    return Changes(
        num_studies=len(shared),
        labels=dict(labels.most_common()),
        rules=dict(rules.most_common()),
        study_ids=tuple(changed),
        only_before=tuple(study_id for study_id in old if study_id not in new),
        only_after=tuple(study_id for study_id in new if study_id not in old),
    )


def compare_labels(
    before: Mapping[str, Label | None], after: Mapping[str, Label | None]
) -> list[tuple[str, Label | None, Label | None]]:
    """(observation, before, after) of each label that differs."""
    names = [*before, *(name for name in after if name not in before)]
    return [(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)]


def _changed_rules(before: ParsedReport, after: ParsedReport) -> list[tuple[str, str, str]]:
    """(finding, statement before, statement after) of each mention that is new, gone or asserted otherwise."""
    old, new = _statements(before), _statements(after)
    return [
        (finding, *pair)
        for start, finding in dict.fromkeys([*old, *new])
        for pair in _differing(old[start, finding], new[start, finding])
    ]


def _differing(old: Counter[str], new: Counter[str]) -> Iterator[tuple[str, str]]:
    """The statements that only one of the two has, side by side; "" where the other has no more."""
    return zip_longest(sorted((old - new).elements()), sorted((new - old).elements()), fillvalue="")


def _statements(report: ParsedReport) -> defaultdict[tuple[int, str], Counter[str]]:
    """Assertion and rule, as one string, of the mentions at each (start, finding): a finding on two sides has two."""
    found: defaultdict[tuple[int, str], Counter[str]] = defaultdict(Counter)
    for mention in (mention for sentence in report.sentences for mention in sentence.mentions):
        found[mention.start, mention.finding][f"{mention.assertion} {mention.rule}"] += 1
    return found
