"""The parser on the synthetic reports of radlabels: agreement with its labels, and reports per CPU second."""

import json
import time
from collections.abc import Sequence

from infra.bench.parser_radlabels import Labeller, Statements, agreement, label_reports, read_aliases
from infra.bench.parser_row import PEERS, ROUNDS, TOOLS, Row, run_peer, text_of
from trrg_core.report.lexicon import Lexicon, compile_lexicon, load_rules
from trrg_core.report.mentions import find_mentions
from trrg_core.report.parser import ReportParser
from trrg_core.report.sentences import find_sentences


def score_radlabels() -> list[Row]:
    """Agreement with radlabels on its own reports, and reports per CPU second.

    One row uses only the phrases of radlabels, another adds the lexicon of this project. A phrase stands for every
    label of radlabels that has an alias whose words are all in the phrase.
    """
    root = PEERS / "radlabels" / "radlabels"
    if not root.is_dir():
        return []
    aliases = read_aliases(root / "aliases.py")
    phrases = {alias.lower(): alias.lower() for listed in aliases.values() for alias in listed}
    gold = json.loads((root / "samples" / "synthetic_labels.json").read_text("utf-8"))
    texts = [(root / "samples" / "synthetic_reports" / f"{key}.txt").read_text("utf-8") for key in gold]
    reports = [[text, find_sentences(text)] for text in texts]
    statements, seconds = time_reports(texts, word_list(phrases))
    results = {tool: run_peer(tool, phrases=phrases, reports=reports, rounds=ROUNDS) for tool in TOOLS}
    label = Labeller(aliases)
    scores = {
        tool: agreement(gold, label.all([[(entity[0], entity[1]) for entity in row] for row in result["reports"]]))
        for tool, result in results.items()
        if result and tool in ("negspacy", "medspacy")
    }
    speeds = {tool: len(texts) / result["seconds"] for tool, result in results.items() if result}
    parser_speed, repeated_speed = time_parser(texts)
    ours = len(texts) / seconds
    best = max(scores.values(), default=None)
    full = agreement(gold, label_reports(texts, phrases, label))
    rows = [
        Row(
            "radlabels, its phrases only: macro-F1 of affirmed findings",
            agreement(gold, label.all(statements)),
            best,
            text_of(scores),
        ),
        Row("radlabels, its phrases and ours, sections read: macro-F1", full, best, text_of(scores)),
        Row("same phrases and sentences: reports per CPU-second", ours, None, text_of(speeds)),
    ]
    for tool, floor in (("negspacy", 1.5), ("medspacy", 5.0), ("medspacy-default", 60.0)):
        if tool in speeds:
            rows.append(Row(f"  times as fast as {tool}", ours / speeds[tool], floor))
    rows.append(Row("full parser, 1,000 distinct reports, empty cache: reports per CPU-second", parser_speed))
    rows.append(Row("full parser, cached sentences: reports per CPU-second", repeated_speed))
    return rows


def word_list(phrases: dict[str, str]) -> Lexicon:
    """A lexicon of `phrases` with the cues of this project, without its places, states, attributes and plurals."""
    names: dict[str, list[str]] = {}
    for phrase, name in phrases.items():
        names.setdefault(name, []).append(phrase)
    rules = load_rules()
    return compile_lexicon(
        {
            "findings.yaml": {name: {"phrases": listed} for name, listed in names.items()},
            "patterns.yaml": {"places": {}, "states": {}, "pairs": {}},
            "cues.yaml": rules["cues.yaml"],
            "attributes.yaml": {},
        }
    )


def time_reports(texts: Sequence[str], lexicon: Lexicon) -> tuple[Statements, float]:
    """The mentions of `lexicon` in `texts`, with sentence splitting, and the CPU seconds of the fastest round."""
    best: float = float("inf")
    statements: Statements = []
    for _ in range(ROUNDS):
        began = time.process_time()
        statements = [
            [(mention.finding, str(mention.assertion)) for start, end in find_sentences(text)
             for mention in find_mentions(text[start:end], lexicon)]
            for text in texts
        ]  # fmt: skip
        best = min(best, time.process_time() - began)
    return statements, best


def time_parser(texts: Sequence[str]) -> tuple[float, float]:
    """Reports per CPU second of the full parser, with an empty and with a filled sentence cache."""
    fresh, cached = float("inf"), float("inf")
    for _ in range(ROUNDS):
        parser = ReportParser()
        for is_first in (True, False):
            began = time.process_time()
            for _ in parser.parse_many(texts):
                pass
            seconds = time.process_time() - began
            fresh, cached = (min(fresh, seconds), cached) if is_first else (fresh, min(cached, seconds))
    return len(texts) / fresh, len(texts) / cached
