"""How right and how fast the report parser is, with negspaCy and medspaCy on the same words in the same run.

`sh infra/bench/peers.sh` once, then `python -m infra.bench.parser`, or with `--only NAME` one part of it. The labels
are those that people made (NegEx and ConText kits, IU-Xray) from the folder TRRG_REAL_DATA names, and radlabels'
synthetic reports. Prints a table, its last line the verdict; exits 1 below a floor. Half of each human set was looked
at while the rules were written (`dev`), the other half only by its score (`held`).
"""

import argparse
import csv
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from infra.bench.parser_radlabels import Labeller, Said, agreement, label_reports, read_aliases
from trrg_core.labels import Assertion
from trrg_core.report.assertion import Asserted, assess_concept
from trrg_core.report.lexicon import Lexicon, compile_lexicon, load_lexicon, load_rules
from trrg_core.report.mentions import find_mentions
from trrg_core.report.parser import ReportParser
from trrg_core.report.sections import find_sections, label_section
from trrg_core.report.sentences import find_sentences

DATA = Path(os.environ.get("TRRG_REAL_DATA", "../shared/data"))
PEERS = Path(".bench")
TOOLS = {"spacy-tokenizer": "negspacy", "negspacy": "negspacy", "medspacy": "medspacy", "medspacy-default": "medspacy"}
ROUNDS = 3


@dataclass(frozen=True)
class Row:
    """One line of the table. `floor` is what ours must reach, or with `is_most` not exceed; None: nothing is asked."""

    what: str
    ours: float
    floor: float | None = None
    peers: str = ""
    is_most: bool = False

    @property
    def is_below(self) -> bool:
        """Whether the floor is missed."""
        return self.floor is not None and (self.ours > self.floor if self.is_most else self.ours < self.floor)


def main() -> int:
    """Measure, print, and give 1 when something is below its floor."""
    parts = {
        "negation": score_negation,
        "iu_xray": score_iu_xray,
        "sections": score_sections,
        "radlabels": score_radlabels,
        "corpus": score_corpus,
    }
    arguments = argparse.ArgumentParser(prog="python -m infra.bench.parser", description=__doc__)
    arguments.add_argument("--only", choices=parts, action="append", help="measure this part; may be repeated")
    rows = [row for name in arguments.parse_args().only or parts for row in parts[name]()]
    table = Table("measured", "ours", "floor", "peers in the same run")
    for row in rows:
        floor = "" if row.floor is None else f"{'at most ' if row.is_most else ''}{row.floor:.4g}"
        table.add_row(row.what, f"{row.ours:.4g}", floor, row.peers)
    Console(width=150).print(table)
    below = [row.what for row in rows if row.is_below]
    held = sum(row.floor is not None for row in rows) - len(below)
    print(f"floors held {held} of {held + len(below)}" + (f"; below: {', '.join(below)}" if below else ""))
    return 1 if below else 0


def is_dev(key: str) -> bool:
    """Whether the rows of `key` were read while the rules were written."""
    return int(hashlib.md5(key.encode(), usedforsecurity=False).hexdigest(), 16) % 2 == 0


def run_peer(tool: str, **work: object) -> dict[str, list] | None:
    """What a peer says, from its own environment; None when it is not installed."""
    python = PEERS / TOOLS[tool] / "bin" / "python"
    if not python.is_file():
        return None
    script = Path(__file__).with_name("peer_negation.py")
    done = subprocess.run(
        [str(python), "-W", "ignore", str(script), tool],
        input=json.dumps(work),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout[done.stdout.index("{") :])


def score_negation() -> list[Row]:
    """Accuracy, precision and recall of Negated on the NegEx kit; time and person on the ConText kit."""
    kit = read_tsv("negex_annotations.tsv")
    rows = []
    ours = [assess(row["sentence"], row["concept"]) for row in kit]
    peers = {
        tool: run_peer(tool, concepts=[[row["sentence"], row["concept"]] for row in kit])
        for tool in ("negspacy", "medspacy")
    }
    gold = [row["negation"] == "Negated" for row in kit]
    said = {tool: [answer[0] == "ABSENT" for answer in result["concepts"]] for tool, result in peers.items() if result}
    mine = [one.assertion == Assertion.ABSENT for one in ours]
    floors = (0.985, 0.96, 0.97)
    for name, index, floor in zip(("accuracy", "precision", "recall"), range(3), floors, strict=True):
        others = ", ".join(f"{tool} {judge(gold, answers)[index]:.3f}" for tool, answers in said.items())
        rows.append(Row(f"NegEx kit {name}, {len(kit)} rows", judge(gold, mine)[index], floor, others))
    for half, wanted in (("dev", 1), ("held", 0)):
        keep = [index for index, row in enumerate(kit) if int(row["report_no"]) % 2 == wanted]
        value = judge([gold[i] for i in keep], [mine[i] for i in keep])
        rows.append(Row(f"  {half} half accuracy, {len(keep)} rows", value[0]))
    return [*rows, *score_context()]


def score_context() -> list[Row]:
    """Recent or historical, patient or other, on the ConText kit, against medspaCy."""
    kit = read_tsv("context_annotations.tsv")
    ours = [assess(row["sentence"], row["condition"]) for row in kit]
    peer = run_peer("medspacy", concepts=[[row["sentence"], row["condition"]] for row in kit])
    wanted_time = [row["temporality"] == "Historical" for row in kit]
    wanted_other = [row["experiencer"] != "Patient" for row in kit]
    rows = []
    for name, wanted, mine, place in (
        ("historical", wanted_time, [one.historical for one in ours], 1),
        ("experiencer", wanted_other, [one.experiencer != "patient" for one in ours], 2),
    ):
        theirs = judge(wanted, [answer[place] for answer in peer["concepts"]])[0] if peer else None
        others = f"medspacy {theirs:.3f}" if theirs is not None else ""
        rows.append(Row(f"ConText kit {name} accuracy, {len(kit)} rows", judge(wanted, mine)[0], theirs, others))
    return rows


def assess(sentence: str, concept: str) -> Asserted:
    """`assess_concept`; a concept that its sentence does not hold is taken as affirmed."""
    try:
        return assess_concept(sentence, concept)
    except ValueError:
        return Asserted(assertion=Assertion.PRESENT, rule="not found")


def judge(gold: Sequence[bool], said: Sequence[bool]) -> tuple[float, float, float]:
    """(accuracy, precision, recall) of True."""
    both = sum(g and s for g, s in zip(gold, said, strict=True))
    right = sum(g == s for g, s in zip(gold, said, strict=True))
    return right / len(gold), both / max(1, sum(said)), both / max(1, sum(gold))


def read_tsv(name: str) -> list[dict[str, str]]:
    """Rows of a kit, kept as they are (quotes are text)."""
    with (DATA / "negation" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def score_iu_xray() -> list[Row]:
    """Micro-F1 of the positive labels of nih14 against the labels people gave IU-Xray."""
    gold, texts = read_iu_xray()
    parser = ReportParser("nih14")
    names = [name for name in parser.label_set.observations if name not in ("Hernia", "No Finding")]
    wanted = {uid: {name for name in names if row[name] == "1"} for uid, row in gold.items() if uid in texts}
    ours = {uid: positives(parser.parse(texts[uid]).labels, names) for uid in wanted}
    lexicon = load_lexicon()
    phrases = {
        " ".join(phrase.split()): finding
        for phrase, entry in lexicon.automaton.items()
        for finding in [next((term.name for term in entry.terms if term.role == "finding"), "")]
        if any(finding in parser.label_set.findings[name] for name in names)
    }
    reports = [[texts[uid], find_sentences(texts[uid])] for uid in wanted]
    peers = {}
    for tool in ("negspacy", "medspacy"):
        result = run_peer(tool, phrases=phrases, reports=reports, rounds=1)
        if result:
            peers[tool] = {
                uid: {name for name in names if told(said, parser.label_set.findings[name])}
                for uid, said in zip(wanted, result["reports"], strict=True)
            }
    subsets = {
        "all": list(wanted),
        "NegBio test": [uid for uid in wanted if gold[uid]["in_negbio_testset"] == "1"],
        "dev": [uid for uid in wanted if is_dev(uid)],
        "held": [uid for uid in wanted if not is_dev(uid)],
    }
    return [
        Row(
            f"IU-Xray nih14 positives micro-F1, {name}, {len(uids)} reports",
            micro_f1(wanted, ours, uids),
            0.88 if name in ("all", "NegBio test") else None,
            ", ".join(f"{tool} {micro_f1(wanted, said, uids):.3f}" for tool, said in peers.items()),
        )
        for name, uids in subsets.items()
    ]


def told(said: Iterable[Sequence[object]], findings: Sequence[str]) -> bool:
    """Whether one of `findings` is affirmed, now, of the patient."""
    return any(one[0] in findings and one[1] == "PRESENT" and not one[2] and not one[3] for one in said)


def positives(labels: dict[str, int | None], names: Iterable[str]) -> set[str]:
    """The observations that are POSITIVE."""
    return {name for name in names if labels[name] == 1}


def micro_f1(wanted: dict[str, set[str]], said: dict[str, set[str]], uids: Iterable[str]) -> float:
    """F1 over all (report, observation) pairs of `uids`."""
    pairs = [(wanted[uid], said[uid]) for uid in uids]
    right = sum(len(one & other) for one, other in pairs)
    return 2 * right / max(1, sum(len(one) + len(other) for one, other in pairs))


def read_iu_xray() -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Gold rows and report texts (findings and impression) by uid."""
    with (DATA / "iu_xray" / "openi_gold14.csv").open(encoding="utf-8", newline="") as file:
        gold = {row["filename"].removeprefix("CXR"): row for row in csv.DictReader(file)}
    texts = {}
    with tarfile.open(DATA / "iu_xray" / "ecgen-radiology.tgz") as archive:
        for member in archive:
            if member.name.endswith(".xml"):
                root = ET.parse(archive.extractfile(member)).getroot()
                parts = {part.get("Label"): part.text or "" for part in root.findall(".//AbstractText")}
                uid = root.find(".//IUXRId").get("id")
                texts[uid] = f"FINDINGS: {parts.get('FINDINGS', '')}\n\nIMPRESSION: {parts.get('IMPRESSION', '')}"
    return gold, texts


def score_sections() -> list[Row]:
    """Share of studies whose sections and labelled section are MIT-LCP's."""
    with (DATA / "mimic_like" / "expected_sections_mitlcp.csv").open(encoding="utf-8", newline="") as file:
        expected = list(csv.DictReader(file))
    reports = {path.stem: path.read_bytes().decode() for path in (DATA / "mimic_like" / "files").rglob("s*.txt")}
    equal = 0
    for row in expected:
        sections = find_sections(reports[row["study"]])
        chosen = label_section(sections)
        equal += "|".join(one.name for one in sections) == row["section_names"] and (
            chosen is not None and chosen.name == row["used"]
        )
    return [Row(f"MIT-LCP sections equal, {len(expected)} studies", equal / len(expected), 1.0)]


def score_radlabels() -> list[Row]:
    """Agreement with radlabels on its own reports, and reports per CPU second.

    One row with nothing but its words for all, one with our lexicon beside them. What a phrase stands for is
    radlabels' own answer: every label that has an alias all of whose words are among the phrase's.
    """
    root = PEERS / "radlabels" / "radlabels"
    if not root.is_dir():
        return []
    aliases = read_aliases(root / "aliases.py")
    phrases = {alias.lower(): alias.lower() for listed in aliases.values() for alias in listed}
    gold = json.loads((root / "samples" / "synthetic_labels.json").read_text("utf-8"))
    texts = [(root / "samples" / "synthetic_reports" / f"{key}.txt").read_text("utf-8") for key in gold]
    reports = [[text, find_sentences(text)] for text in texts]
    said, seconds = time_reports(texts, word_list(phrases))
    results = {tool: run_peer(tool, phrases=phrases, reports=reports, rounds=ROUNDS) for tool in TOOLS}
    label = Labeller(aliases)
    scores = {
        tool: agreement(gold, label.all([[(one[0], one[1]) for one in row] for row in result["reports"]]))
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
            "radlabels, its words alone: macro-F1 of affirmed findings",
            agreement(gold, label.all(said)),
            best,
            text_of(scores),
        ),
        Row("radlabels, its words and ours, sections read: macro-F1", full, best, text_of(scores)),
        Row("same words and sentences: reports per CPU-second", ours, None, text_of(speeds)),
    ]
    for tool, floor in (("negspacy", 1.5), ("medspacy", 5.0), ("medspacy-default", 60.0)):
        if tool in speeds:
            rows.append(Row(f"  times as fast as {tool}", ours / speeds[tool], floor))
    rows.append(Row("full parser, 1,000 distinct reports, nothing remembered: reports per CPU-second", parser_speed))
    rows.append(Row("full parser, sentences seen before: reports per CPU-second", repeated_speed))
    return rows


def score_corpus() -> list[Row]:
    """The parse job on as many reports as MIMIC-CXR has: wall clock and memory."""
    from infra.bench.parser_corpus import NUM_CPUS, parse_corpus  # the other parts need no Ray

    run = parse_corpus()
    told = f"{run.num_reports:,} invented reports ({run.num_distinct:,} distinct), Ray Data on {NUM_CPUS} CPUs"
    return [
        Row(f"{told}: wall seconds", run.wall_s, 300, is_most=True),
        Row("  peak RSS of all processes, GiB", run.peak_bytes / 2**30, 4, is_most=True),
        Row("  reports per second", run.num_reports / run.wall_s),
        Row("  mentions written", run.num_mentions),
    ]


def word_list(phrases: dict[str, str]) -> Lexicon:
    """`phrases` under our cues: no places and states, no attributes, no plurals of ours."""
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


def time_reports(texts: Sequence[str], lexicon: Lexicon) -> tuple[Said, float]:
    """What our cues say of the words of `lexicon`, sentence splitting included, and the fastest round's seconds."""
    best, said = float("inf"), []
    for _ in range(ROUNDS):
        began = time.process_time()
        said = [
            [(one.finding, str(one.assertion)) for start, end in find_sentences(text)
             for one in find_mentions(text[start:end], lexicon)]
            for text in texts
        ]  # fmt: skip
        best = min(best, time.process_time() - began)
    return said, best


def time_parser(texts: Sequence[str]) -> tuple[float, float]:
    """Reports per CPU second of the full parser, with fresh and with remembered sentences."""
    fresh, again = float("inf"), float("inf")
    for _ in range(ROUNDS):
        parser = ReportParser()
        for is_first in (True, False):
            began = time.process_time()
            for _ in parser.parse_many(texts):
                pass
            taken = time.process_time() - began
            fresh, again = (min(fresh, taken), again) if is_first else (fresh, min(again, taken))
    return len(texts) / fresh, len(texts) / again


def text_of(values: dict[str, float]) -> str:
    """Peers and their values in one line."""
    return ", ".join(f"{tool} {value:.4g}" for tool, value in values.items())


if __name__ == "__main__":
    sys.exit(main())
