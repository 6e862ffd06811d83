"""Ablations: the fine-tuning stage without clues, interaction or consistency, next to the full model.

    python -m infra.bench.ablations --store demo/store

Uses the newest shards and contrastive model of the store (created by `make demo`): fine-tunes four times, generates
with many candidates per study and with one, scores the test split each time, and prints the table of docs/ablations.md.
Existing results are reused. With about 150 test studies and one seed, differences of a few points are noise.
"""

import argparse
import logging
import sys

from pipelines.running.newest_outputs import newest_outputs
from pipelines.running.run_job import run_job
from trrg_core.config.load import load_config
from trrg_core.labels import load_label_set
from trrg_core.metrics.systems import (
    FIVE_FAMILY,
    FLOORS,
    TruthRate,
    clinical_score,
    family_name,
    language_score,
    metric_key,
)
from trrg_core.storage.store import open_store

VARIANTS = {
    "full": (),
    "clues off": ("finetune.clues=off",),
    "interaction off": ("finetune.interaction=off",),
    "consistency off": ("finetune.consistency=off",),
}
# one draft shows the effect of training alone, the candidates of the preset also that of the selection
DECODINGS = {"preset's drafts": (), "one draft": ("generate.candidates=1",)}
FAMILY = family_name(load_label_set("chexpert14"))
SCORES = (
    clinical_score(FAMILY, "micro"),
    clinical_score(FAMILY, "macro"),
    clinical_score(FIVE_FAMILY),
    language_score("bleu4"),
    TruthRate.DISTINCT_SHARE,
    TruthRate.UNSUPPORTED_POSITIVE,
)


def main() -> int:
    """Runs the variants and prints the table; returns 1 if the full model does not exceed both floors."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("pipelines").setLevel(logging.INFO)
    options = _parse_options()
    rows = {
        f"{name}, {decoding}": _score(options, (*settings, *decoding_settings))
        for name, settings in VARIANTS.items()
        for decoding, decoding_settings in DECODINGS.items()
    }
    full = next(iter(rows.values()))
    table = {name: {score: row.get(score) for score in SCORES} for name, row in rows.items()}
    table |= {floor: {score: full.get(metric_key(floor, score)) for score in SCORES} for floor in FLOORS}
    print("| variant | " + " | ".join(SCORES) + " |")
    print("| --- |" + " ---: |" * len(SCORES))
    for name, values in table.items():
        print(f"| {name} | " + " | ".join(_show(value) for value in values.values()) + " |")
    key = SCORES[0]
    best_floor = max(table[name][key] or 0.0 for name in FLOORS)
    print(f"verdict: {key} of the full model {full[key]:.3f}, of the better floor {best_floor:.3f}")
    return 0 if full[key] > best_floor else 1


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default="demo/store", help="store with shards and a contrastive model")
    parser.add_argument("--preset", default="tiny", help="preset or YAML file")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="setting for all variants; repeatable"
    )
    return parser.parse_args()


def _score(options: argparse.Namespace, settings: tuple[str, ...]) -> dict[str, float]:
    """The scores of one variant on the test split."""
    config = load_config(options.preset, [*options.set, *settings])
    refs = newest_outputs(open_store(options.store), ("shards", "contrastive"))
    for job, output in (("finetune", "generator"), ("generate", "predictions"), ("evaluate", "scores")):
        result = run_job(job, config, options.store, refs)
        refs[output] = result.ref
    return dict(result.counts)


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    sys.exit(main())
