"""The gate over simulated nights: how often it promotes a model that is worse, equal or better, and how far it drifts.

    python -m infra.bench.gate                     # a thousand nights of each kind, about ten minutes
    python -m infra.bench.gate --nights 50 --series 2

Test sets and models are invented (`infra.bench.gate_nights`), so that the true quality of each model is known. Prints
the tables of docs/gate.md; exits 1 if a promise is not kept.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from infra.bench.gate_nights import RATES, Model, TestSet, expected_f1, shift_for
from trrg_core.config.gate_settings import GateConfig
from trrg_core.registry.champion_checks import BEST, CHAMPION, Rival
from trrg_core.registry.check import Verdict
from trrg_core.registry.decision import Decision
from trrg_core.registry.gate import decide

NUM_STUDIES = 1500
WORSE, BETTER = 0.03, 0.03
MAX_WORSE, MIN_BETTER, MAX_DRIFT = 0.05, 0.60, 0.02
NIGHTS_IN_SERIES = 50
LUCK = 0.01  # standard deviation of true quality between trainings


@dataclass(frozen=True, kw_only=True)
class Share:
    """How often challengers of one kind were promoted, and the share of nights in which each check failed."""

    difference: float
    promoted: float
    failed: dict[str, float]


def main() -> int:
    """Run the nights and print the tables; 1 if a promise is not kept."""
    options = _parse_options()
    base = expected_f1(0.0)
    config = GateConfig()
    print(f"{options.nights} nights each, {options.studies} studies, true micro-F1 of the champion {base:.3f}\n")
    shares = {
        difference: promote_nights(difference, options.nights, options.studies, config)
        for difference in (-0.06, -WORSE, -0.01, 0.0, 0.01, BETTER, 0.06)
    }
    single = config.model_copy(update={"critical_findings": ("Pneumothorax",)})
    _print_shares(shares, promote_nights(BETTER, options.nights, options.studies, single))
    drifts = {
        "equal to the champion, give or take": lambda generator: generator.normal(0.0, LUCK),
        "each .01 below the champion": lambda _: -0.01,
    }
    finals = {
        name: [run_series(seed, options.studies, config, draw) for seed in range(options.series)]
        for name, draw in drifts.items()
    }
    _print_drift(finals)
    drift = max(float(np.mean([base - final for final, _ in of_kind])) for of_kind in finals.values())
    kept = shares[-WORSE].promoted <= MAX_WORSE and shares[BETTER].promoted >= MIN_BETTER and drift <= MAX_DRIFT
    print(
        f"\n{'PASS' if kept else 'FAIL'}: {WORSE} worse promoted {shares[-WORSE].promoted:.1%} "
        f"(at most {MAX_WORSE:.0%}), "
        f"{BETTER} better {shares[BETTER].promoted:.1%} (at least {MIN_BETTER:.0%}), "
        f"drift {drift:+.3f} (at most {MAX_DRIFT})"
    )
    return 0 if kept else 1


def promote_nights(difference: float, nights: int, num_studies: int, config: GateConfig) -> Share:
    """A new test set each night, one champion, and a challenger whose true micro-F1 differs by `difference`."""
    champion_f1 = expected_f1(0.0)
    promoted, against = 0, Counter[str]()
    for night in range(nights):
        studies = TestSet(num_studies, seed=night)
        challenger = Model(shift=shift_for(champion_f1 + difference), seed=2 * night)
        decision = judge(studies, challenger, Model(shift=0.0, seed=2 * night + 1), None, config)
        promoted += decision.promote
        against.update({_kind(check.name) for check in decision.checks if check.verdict is Verdict.FAIL})
    failed = {name: count / nights for name, count in against.most_common(3)}
    return Share(difference=difference, promoted=promoted / nights, failed=failed)


def run_series(
    seed: int, num_studies: int, config: GateConfig, draw: Callable[[np.random.Generator], float]
) -> tuple[float, int]:
    """Nights on one test set: the true micro-F1 of the last champion, and the number of promotions."""
    generator = np.random.default_rng(seed)
    studies = TestSet(num_studies, seed=1_000_000 + seed)
    champion = best = Model(shift=0.0, seed=0)
    promotions = 0
    for night in range(1, NIGHTS_IN_SERIES + 1):
        challenger = Model(shift=shift_for(champion.f1 + draw(generator)), seed=1000 * seed + night)
        if judge(studies, challenger, champion, best, config).promote:
            champion = challenger
            best = max(best, challenger, key=lambda model: _measured(studies, model))
            promotions += 1
    return champion.f1, promotions


def judge(studies: TestSet, challenger: Model, champion: Model, best: Model | None, config: GateConfig) -> Decision:
    """The decision of the gate about a challenger."""
    rivals = [Rival(role=CHAMPION, model="champion", outcomes=studies.alone(champion))]
    if best is not None and best != champion:
        rivals.append(Rival(role=BEST, model="best", outcomes=studies.alone(best)))
    return decide(
        studies.table(challenger),
        rates=RATES,
        rivals=rivals,
        config=config,
        score_name="micro-F1",
        seed=7,
        images=studies.images(challenger),
    )


def _measured(studies: TestSet, model: Model) -> float:
    hits, extra, missed = np.split(studies.count(model)[:, :39].sum(axis=0), 3)
    return float(2 * hits.sum() / (2 * hits.sum() + extra.sum() + missed.sum()))


def _kind(name: str) -> str:
    return "champion.recall" if name.startswith("champion.recall.") else name


def _print_shares(shares: dict[float, Share], single: Share) -> None:
    print("| true difference from the champion | promoted | checks that failed most often, share of nights |")
    print("| ---: | ---: | --- |")
    for share in shares.values():
        print(f"| {share.difference:+.2f} | {share.promoted:.1%} | {_describe(share)} |")
    label = f"{single.difference:+.2f}, pneumothorax the only critical finding"
    print(f"| {label} | {single.promoted:.1%} | {_describe(single)} |")


def _describe(share: Share) -> str:
    return ", ".join(f"`{name}` {value:.0%}" for name, value in share.failed.items()) or "-"


def _print_drift(finals: dict[str, list[tuple[float, int]]]) -> None:
    base = expected_f1(0.0)
    print(f"\n| {NIGHTS_IN_SERIES} nights, challengers | series | promotions | mean drop | largest drop |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, of_kind in finals.items():
        drops = [base - final for final, _ in of_kind]
        promotions = np.mean([count for _, count in of_kind])
        print(f"| {name} | {len(drops)} | {promotions:.1f} | {np.mean(drops):+.3f} | {max(drops):+.3f} |")


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nights", type=int, default=1000, help="nights of each kind")
    parser.add_argument("--series", type=int, default=20, help=f"series of {NIGHTS_IN_SERIES} nights of each kind")
    parser.add_argument("--studies", type=int, default=NUM_STUDIES, help="test studies")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
