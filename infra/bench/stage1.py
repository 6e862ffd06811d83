"""Ablations of stage 1: each part of its training taken away or replaced, over several seeds.

    python -m infra.bench.stage1 --store demo/store
    python -m infra.bench.stage1 --store demo/store --variants full "no side flips" --set pretrain.epochs=9
    python -m infra.bench.stage1 --store demo/store --variants full --test-store other/store

Trains every variant with every seed on the newest shards of the store, in processes of one thread each and without Ray,
scores each on the test split, or on all studies of another store, and prints two tables in Markdown (docs/stage1.md
holds the last ones): mean and standard deviation over the seeds, and the difference from the full model, paired by
seed, with its 95 % interval (Student's t). A run that exists already is not trained again, so an interrupted series
goes on, and what was chosen on the test split can be scored on studies that nothing was chosen by.
"""

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy import stats

from infra.bench.variants import add_run_options, mean_and_deviation, run_variants, test_rows, variant_config
from pipelines.jobs.pretrain import calibrated_probabilities, score_rows
from pipelines.jobs.reslice import make_slice
from pipelines.running.newest_outputs import newest_outputs
from pipelines.running.run_job import run_job
from pipelines.training.runs import observations_of
from trrg_core.config.settings import TrrgConfig
from trrg_core.metrics.perception_scores import headline_metrics, score_perception, split_scores
from trrg_core.model.model_folder import load_contrastive_folder
from trrg_core.runs.stored_model import fetched_model
from trrg_core.slicing.spec import SliceSpec
from trrg_core.storage.store import open_store
from trrg_core.training.prompts import load_prompts
from trrg_core.training.statement_pairs import PairMaker

FULL = "full"
SLICE = "slice with at most half of the sentences negated"
_ALL = ("polarity", "side", "severity", "report")
VARIANTS: Mapping[str, tuple[str, ...]] = {
    FULL: (),
    "no attributes in relations": ("pretrain.use_attributes=false",),
    "no zones in relations": ("pretrain.use_zones=false",),
    **{
        f"no {name}": (f"pretrain.hard_negatives=[{', '.join(kind for kind in _ALL if kind != left_out)}]",)
        for left_out, name in {
            "polarity": "polarity flips",
            "side": "side flips",
            "severity": "severity flips",
            "report": "sentences of other reports",
        }.items()
    },
    "no hard negatives": ("pretrain.hard_negatives=[]",),
    "no side prompts": ("pretrain.side_prompt_weight=0",),
    "no prompt supervision (zero-shot)": ("pretrain.prompt_supervision=false",),
    "no local alignment": ("pretrain.local_weight=0",),
    "flips in pairs": ("pretrain.hard_negative_form=pairs",),
    "sigmoid loss": ("pretrain.contrastive_loss=sigmoid",),
    "position embedding of patches": ("pretrain.patch_position=true",),
    SLICE: (),
}
# columns of the tables: the name of the metric without its prefix, and its heading
SCORES: Mapping[str, str] = {
    "macro_auroc": "macro AUROC",
    "side_accuracy": "side accuracy",
    "flip_polarity_present": "flip, present",
    "flip_polarity_absent": "flip, absent",
    "report_polarity_present": "other report, present",
    "report_polarity_absent": "other report, absent",
    "report_zone": "other report, zone",
    "flip_side": "flip, side",
    "flip_severity": "flip, severity",
    "ece": "ECE",
}

Scores = dict[str, float]


def main() -> int:
    """Trains the variants and prints the tables."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    options = _parse_options()
    scores = run_variants(options, VARIANTS, train_variant, _line)
    if scores is None:
        return 2
    print(_table(scores, options.seeds))
    if FULL in scores and len(options.seeds) > 1:
        print("\n" + _differences(scores))
    return 0


def train_variant(options: argparse.Namespace, name: str, seed: int) -> Scores:
    """The scores of one variant and seed on the test split, by metric name without prefix."""
    config = variant_config(seed, options.set, VARIANTS[name])
    shards = newest_outputs(open_store(options.store), ("shards",))["shards"]
    inputs = {"shards": shards}
    if name == SLICE:
        spec = SliceSpec(name="half-negated", base=shards, max_negated_share=0.5)
        inputs["slice"] = make_slice(open_store(options.store), spec).result.ref
    done = run_job("pretrain", config, options.store, inputs)
    counts = score_elsewhere(options, done.ref, config) if options.test_store else done.counts
    return {key.removeprefix("perception_").removeprefix("zero_shot_"): value for key, value in counts.items()}


def score_elsewhere(options: argparse.Namespace, run_id: str, config: TrrgConfig) -> Mapping[str, float]:
    """The scores of a calibrated model on the studies of the test store, by metric name."""
    torch.set_num_threads(1)
    with fetched_model(open_store(options.store), run_id) as folder:
        model = load_contrastive_folder(folder)
    observations, rows = observations_of(config), test_rows(options.test_store, options.studies)
    maker = PairMaker(rows, prompts=load_prompts(observations), observations=observations)
    found = split_scores(score_rows(model, rows, maker), len(observations))
    probabilities = calibrated_probabilities(model.perception, found)
    scores = score_perception(found, *probabilities, observations=observations, seed=config.seed)
    return headline_metrics(scores, is_zero_shot=not config.pretrain.prompt_supervision)


def _line(scores: Scores) -> str:
    return ", ".join(f"{label} {scores[key]:.3f}" for key, label in SCORES.items() if key in scores)


def _table(scores: Mapping[str, Sequence[Scores]], seeds: Sequence[int]) -> str:
    lines = [f"| variant, seeds {', '.join(map(str, seeds))} | " + " | ".join(SCORES.values()) + " |"]
    lines.append("| --- |" + " ---: |" * len(SCORES))
    for name, found in scores.items():
        cells = [mean_and_deviation([one[key] for one in found if key in one]) for key in SCORES]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _differences(scores: Mapping[str, Sequence[Scores]]) -> str:
    """Each variant minus the full model, paired by seed; bold where the interval leaves out 0."""
    lines = ["| variant minus full | " + " | ".join(SCORES.values()) + " |", "| --- |" + " ---: |" * len(SCORES)]
    for name, found in scores.items():
        if name != FULL:
            lines.append(f"| {name} | " + " | ".join(_difference(found, scores[FULL], key) for key in SCORES) + " |")
    return "\n".join(lines)


def _difference(found: Sequence[Scores], full: Sequence[Scores], key: str) -> str:
    gaps = [one[key] - other[key] for one, other in zip(found, full, strict=True) if key in one and key in other]
    if len(gaps) < 2:
        return "-"
    mean, half = (
        float(np.mean(gaps)),
        float(stats.t.ppf(0.975, len(gaps) - 1) * np.std(gaps, ddof=1) / len(gaps) ** 0.5),
    )
    text = f"{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}]"
    return f"**{text}**" if abs(mean) > half else text


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default="demo/store", help="store with shards")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), metavar="NAME", help="variants to train")
    parser.add_argument("--test-store", default="", help="score on the studies of this store, of any split, instead")
    parser.add_argument("--studies", type=int, default=1500, help="number of studies of the test store")
    add_run_options(parser)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
