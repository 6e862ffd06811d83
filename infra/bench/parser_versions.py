"""The speed of the parser of this checkout as a multiple of that of another version, on the same reports.

`git worktree add /tmp/old COMMIT`, then `python -m infra.bench.parser_versions /tmp/old`. One process per version reads
the same distinct reports in turns, each round with a parser that remembers nothing; CPU seconds of each process count,
of each report those of its fastest round: on a busy machine whole rounds differ by tenths, and these by a hundredth.
Reports: the synthetic ones of radlabels where `infra/bench/peers.sh` has fetched them, those of IU-Xray in MIMIC's
layout where TRRG_REAL_DATA has them, and invented ones, also of the length of MIMIC's reports. Sentences that repeat
are read once, so the share of them that are distinct is printed; of the challenge sentences, joined to reports, nearly
all are.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from infra.bench.challenge_rows import FOLDER, read_rows
from infra.bench.parser_iu_xray import read_iu_xray
from infra.bench.parser_row import DATA, PEERS
from trrg_core.report.parser import ReportParser
from trrg_core.sources.sample import generate_studies

Seconds = NDArray[np.float64]

_NUM_REPORTS = 1_000
# characters of a report of MIMIC-CXR, about
_LONG = range(450, 601)
_HEADING = re.compile(r"(?:FINDINGS|IMPRESSION):")
# reads the reports again for each line of its input, and answers with the CPU seconds
_READER = """
import gc, json, sys, time
from trrg_core.report.parser import ReportParser
texts = json.load(open(sys.argv[1], encoding="utf-8"))
ReportParser().parse(texts[0])
for _ in sys.stdin:
    parser = ReportParser()
    gc.collect()
    times = [time.process_time()]
    for text in texts:
        parser.parse(text)
        times.append(time.process_time())
    print(json.dumps([after - before for before, after in zip(times, times[1:])]), flush=True)
"""


def main() -> None:
    """Prints for each set of reports the speeds and their ratio."""
    arguments = argparse.ArgumentParser(prog="python -m infra.bench.parser_versions", description=__doc__)
    arguments.add_argument("old", type=Path, help="folder of a checkout of the other version")
    arguments.add_argument("--rounds", type=int, default=7)
    options = arguments.parse_args()
    for name, texts in corpora():
        ours, theirs = compare(texts, options.old, options.rounds)
        now, before = (float(one.min(axis=0).sum()) for one in (ours, theirs))
        of_rounds = theirs.sum(axis=1) / ours.sum(axis=1)
        print(
            f"{name}, {len(texts)} distinct reports of {statistics.mean(map(len, texts)):.0f} characters, "
            f"{share_distinct(texts):.0%} of the sentences distinct: "
            f"{len(texts) / now:,.0f} reports per CPU-second, the other version {len(texts) / before:,.0f}; "
            f"ratio {before / now:.3f}, of whole rounds {of_rounds.min():.2f} to {of_rounds.max():.2f}",
            flush=True,
        )


def corpora() -> Iterator[tuple[str, list[str]]]:
    """The sets of reports that this machine has."""
    synthetic = sorted((PEERS / "radlabels" / "radlabels" / "samples" / "synthetic_reports").glob("*.txt"))
    if synthetic:
        yield "radlabels", [path.read_text("utf-8") for path in synthetic][:_NUM_REPORTS]
    if (DATA / "iu_xray").is_dir():
        written = read_iu_xray()[1].values()
        texts = sorted({_in_mimic_layout(text) for text in written})
        yield "IU-Xray in MIMIC's layout", texts[:: max(1, len(texts) // _NUM_REPORTS)][:_NUM_REPORTS]
        statements = (" ".join(_HEADING.sub("", text).split()) for text in dict.fromkeys(written))
        yield "IU-Xray, joined and wrapped", [text for text in _joined(statements) if len(text) in _LONG][:_NUM_REPORTS]
    invented = dict.fromkeys(study.report.text for study in generate_studies(2 * _NUM_REPORTS, seed=11))
    yield "invented", list(invented)[:_NUM_REPORTS]
    mixed = (study.report.text for study in generate_studies(5 * _NUM_REPORTS, seed=21, styles="mixed"))
    yield "invented in mixed styles", list(dict.fromkeys(text for text in mixed if len(text) in _LONG))[:_NUM_REPORTS]
    rows = (row.text for file in sorted(FOLDER.glob("challenge*.txt")) for row in read_rows(file))
    yield "challenge sentences", list(_joined(text for text in rows if "\n" not in text))[:_NUM_REPORTS]


def share_distinct(texts: list[str]) -> float:
    """The share of the sentences of `texts` that differ in more than their line ends from all before them."""
    parsed = ReportParser().parse_many(texts)
    sentences = [" ".join(sentence.text.split()) for report in parsed for sentence in report.sentences]
    return len(set(sentences)) / len(sentences)


def _joined(statements: Iterable[str]) -> Iterator[str]:
    """Reports of at least 450 characters, wrapped as those of MIMIC."""
    pieces: list[str] = []
    for one in statements:
        pieces.append(one)
        if len(text := " ".join(pieces)) >= _LONG.start:
            yield "\n FINAL REPORT\n FINDINGS: \n \n " + "\n ".join(textwrap.wrap(text, 78)) + "\n"
            pieces = []


def _in_mimic_layout(text: str) -> str:
    return "\n FINAL REPORT\n " + text.replace("\n\nIMPRESSION", "\n \n IMPRESSION")


def compare(texts: list[str], old: Path, num_rounds: int) -> tuple[Seconds, Seconds]:
    """CPU seconds `[rounds, reports]` of this version and of the old one."""
    with TemporaryDirectory(prefix="trrg-bench-") as folder:
        file = Path(folder) / "reports.json"
        file.write_text(json.dumps(texts), "utf-8")
        new_reader, old_reader = (_start(root, file) for root in (Path.cwd(), old))
        ours, theirs = [], []
        for _ in range(num_rounds):
            theirs.append(_round(old_reader))
            ours.append(_round(new_reader))
        for reader in (new_reader, old_reader):
            reader.communicate()
    return np.array(ours), np.array(theirs)


def _start(root: Path, file: Path) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(root.resolve())}
    command = [sys.executable, "-c", _READER, str(file)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment, cwd=root)


def _round(reader: "subprocess.Popen[str]") -> list[float]:
    assert reader.stdin is not None
    assert reader.stdout is not None
    reader.stdin.write("\n")
    reader.stdin.flush()
    seconds: list[float] = json.loads(reader.stdout.readline())
    return seconds


if __name__ == "__main__":
    main()
