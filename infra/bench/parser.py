"""Accuracy and speed of the report parser, with negspaCy and medspaCy on the same input in the same run.

`sh infra/bench/peers.sh` once, then `python -m infra.bench.parser`, or one part with `--only NAME`. The references are
labels by people (NegEx and ConText kits, IU-Xray) in the folder TRRG_REAL_DATA, and the synthetic reports of radlabels.
Prints a table, its last line the verdict; exits 1 below a floor. Half of each human set was read while the rules were
written (`dev`); of the other half only the score was known (`held`).
"""

import argparse
import csv
import sys

from rich.console import Console
from rich.table import Table

from infra.bench.parser_iu_xray import score_iu_xray
from infra.bench.parser_kits import score_negation
from infra.bench.parser_row import DATA, Row
from infra.bench.parser_speed import score_radlabels
from trrg_core.report.sections import find_sections, label_section


def main() -> int:
    """Runs the parts and prints the table; returns 1 if a value is below its floor."""
    parts = {
        "negation": score_negation,
        "iu_xray": score_iu_xray,
        "sections": score_sections,
        "radlabels": score_radlabels,
        "corpus": score_corpus,
    }
    arguments = argparse.ArgumentParser(prog="python -m infra.bench.parser", description=__doc__)
    arguments.add_argument("--only", choices=parts, action="append", help="run only this part; repeatable")
    rows = [row for name in arguments.parse_args().only or parts for row in parts[name]()]
    table = Table("measured", "ours", "floor", "peers in the same run")
    for row in rows:
        floor = "" if row.floor is None else f"{'at most ' if row.is_most else ''}{row.floor:.4g}"
        table.add_row(row.name, f"{row.ours:.4g}", floor, row.peers)
    Console(width=150).print(table)
    below = [row.name for row in rows if row.is_below]
    num_reached = sum(row.floor is not None for row in rows) - len(below)
    print(
        f"floors reached: {num_reached} of {num_reached + len(below)}"
        + (f"; below: {', '.join(below)}" if below else "")
    )
    return 1 if below else 0


def score_sections() -> list[Row]:
    """Share of studies whose sections and labelled section equal those of the code of MIT-LCP."""
    with (DATA / "mimic_like" / "expected_sections_mitlcp.csv").open(encoding="utf-8", newline="") as file:
        expected = list(csv.DictReader(file))
    reports = {path.stem: path.read_bytes().decode() for path in (DATA / "mimic_like" / "files").rglob("s*.txt")}
    equal = 0
    for row in expected:
        sections = find_sections(reports[row["study"]])
        chosen = label_section(sections)
        equal += "|".join(section.name for section in sections) == row["section_names"] and (
            chosen is not None and chosen.name == row["used"]
        )
    return [Row(f"MIT-LCP sections equal, {len(expected)} studies", equal / len(expected), 1.0)]


def score_corpus() -> list[Row]:
    """The parse job on as many reports as MIMIC-CXR has: wall-clock time and memory."""
    from infra.bench.parser_corpus import NUM_CPUS, parse_corpus  # the other parts need no Ray

    run = parse_corpus()
    corpus = f"{run.num_reports:,} invented reports ({run.num_distinct:,} distinct), Ray Data on {NUM_CPUS} CPUs"
    return [
        Row(f"{corpus}: wall seconds", run.wall_s, 300, is_most=True),
        Row("  peak RSS of all processes, GiB", run.peak_bytes / 2**30, 4, is_most=True),
        Row("  reports per second", run.num_reports / run.wall_s),
        Row("  mentions", run.num_mentions),
    ]


if __name__ == "__main__":
    sys.exit(main())
