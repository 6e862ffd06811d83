"""The size of the compiled rules: nested groups of words multiply, and a parser loads all their phrases."""

from collections.abc import Iterator

from trrg_core.report.lexicon import expand, load_lexicon, load_rules

# the largest, of "no change in", stands for 20,328
MOST_OF_ONE = 25_000
MOST_OF_ALL = 140_000
WITH_PHRASES = ("findings.yaml", "patterns.yaml", "cues.yaml", "attributes.yaml", "positions.yaml")


def listed_phrases(rules: object) -> Iterator[str]:
    if isinstance(rules, dict):
        for value in rules.values():
            yield from listed_phrases(value)
    elif isinstance(rules, list):
        for value in rules:
            yield from listed_phrases(value)
    elif isinstance(rules, str):
        yield rules


def test_no_listed_phrase_stands_for_too_many() -> None:
    rules = load_rules()
    counts = {phrase: sum(1 for _ in expand(phrase)) for name in WITH_PHRASES for phrase in listed_phrases(rules[name])}
    assert {phrase: count for phrase, count in counts.items() if count > MOST_OF_ONE} == {}
    assert max(counts.values()) > 1_000, "the groups are no longer expanded here"


def test_all_rules_together_stand_for_a_bounded_number_of_phrases() -> None:
    assert len({phrase for phrase, _ in load_lexicon().phrases()}) <= MOST_OF_ALL
