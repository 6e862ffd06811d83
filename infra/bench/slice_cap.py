"""A cap on negated sentences: how often do reports deny a finding when stage 2 has learned through such a slice?

    trrg sample --studies 2000 --seed 7 corpus && trrg sample --studies 1650 --seed 4242 fresh
    # ingest, parse and shard each into a store of its own: store, test-store
    python -m infra.bench.slice_cap --store store --test-store test-store

Trains stage 2 with every seed on the shards, and again through a slice of the same studies in which of the sentences
that mention a finding at most the cap's share deny it; both on the same stage 1, in processes of one thread each and
without Ray. Studies of the test store are only generated on: one greedy draft each. Prints tables in Markdown
(docs/slices.md holds the last ones): the share of negated sentences and the scores, mean and standard deviation over
the seeds, and the difference of the share with its 95 % interval over patients. Exits with 1 unless the cap lowers the
share with every seed. Runs and slices that exist already are not made again.
"""

# ruff: noqa: N815 -- names carry their axes

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from infra.bench.stage2_conditions import Writer
from infra.bench.stage2_scores import Floats, interval, score_text
from infra.bench.variants import (
    add_run_options,
    add_stage1_option,
    mean_and_deviation,
    run_variants,
    stage1_run,
    test_rows,
    variant_config,
)
from pipelines.jobs.reslice import make_slice
from pipelines.running.newest_outputs import newest_outputs
from pipelines.running.run_job import run_job
from trrg_core.config.load import load_config
from trrg_core.labels import STATED_ABSENT, STATED_PRESENT, STATED_UNCERTAIN, load_label_set
from trrg_core.metrics.bootstrap import draw_weights
from trrg_core.model.model_folder import load_model_folder
from trrg_core.report.facts import current_facts, sentence_facts
from trrg_core.runs.stored_model import fetched_model
from trrg_core.slicing.spec import SliceSpec
from trrg_core.storage.store import open_store

NO_CAP = "no cap"
SCORES = ("micro F1", "macro F1", "precision", "recall", "hallucinated")
_RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Sentences:
    """Sentences of N texts that affirm, or suspect, and that deny each of O findings, `[N,O]` each."""

    affirmed_NO: Floats
    denied_NO: Floats

    def negated_share(self, weight_RN: Floats) -> Floats:
        """Of the sentences that mention a finding, those that deny it, for each row of weights of the texts."""
        denied, affirmed = (weight_RN @ part.sum(1) for part in (self.denied_NO, self.affirmed_NO))
        return np.asarray(denied / np.maximum(denied + affirmed, 1))

    def share_of(self, finding: int) -> float:
        """The same of one finding."""
        denied, affirmed = self.denied_NO[:, finding].sum(), self.affirmed_NO[:, finding].sum()
        return float(denied / max(denied + affirmed, 1))


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A model: the sentences of its drafts and of the references, its scores, and whose studies they are."""

    written: Sentences
    references: Sentences
    scores: Mapping[str, float]
    observations: Sequence[str]
    subject_ids: Sequence[str]


def main() -> int:
    """Trains, generates and prints the tables."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    options = _parse_options()
    variants = {NO_CAP: (), **{f"cap of {cap:g}": () for cap in options.caps}}
    options.variants = list(variants)
    results = run_variants(options, variants, measure, _line)
    if results is None:
        return 2
    _print_tables(results, options.seeds)
    return 0 if all(gap < 0 for found in _gaps(results).values() for gap, *_ in map(interval, found)) else 1


def measure(options: argparse.Namespace, name: str, seed: int) -> Measured:
    """Trains one variant with one seed, and writes and reads its drafts."""
    torch.set_num_threads(1)
    with fetched_model(open_store(options.store), train(options, name, seed)) as folder:
        loaded = load_model_folder(folder)
    rows = test_rows(options.test_store, options.studies)
    writer = Writer(loaded, rows, decoding=load_config("tiny", overrides=options.set).generate)
    drafts, references = writer.write(), [row["report"] for row in rows]
    findings = [at for at, label in enumerate(loaded.observations) if label != "No Finding"]
    count = partial(count_sentences, writer, findings=findings)
    return Measured(
        written=count(drafts),
        references=count(references),
        scores=score_text(writer.read(drafts), writer.read(references), findings),
        observations=[loaded.observations[at] for at in findings],
        subject_ids=[row["subject_id"] for row in rows],
    )


def train(options: argparse.Namespace, name: str, seed: int) -> str:
    """The finished run of stage 2 of a variant and seed; stage 1 is that of the seed without a cap."""
    store, config = open_store(options.store), variant_config(seed, options.set, ())
    shards = newest_outputs(store, ("shards",))["shards"]
    contrastive = stage1_run(options, config, shards, seed)
    inputs = {"shards": shards, "contrastive": contrastive}
    if name != NO_CAP:
        spec = SliceSpec(name=name.replace(" ", "-"), base=shards, max_negated_share=float(name.split()[-1]))
        inputs["slice"] = make_slice(store, spec).result.ref
    return run_job("finetune", config, options.store, inputs).ref


def count_sentences(writer: Writer, texts: Sequence[str], *, findings: Sequence[int]) -> Sentences:
    """The sentences of `texts` that affirm and that deny each of `findings`, as the parser reads them."""
    shape = (len(texts), len(writer.observations))
    affirmed_NO, denied_NO = np.zeros(shape), np.zeros(shape)
    label_set = load_label_set(writer.loaded.config.parse.label_set)
    for at, parsed in enumerate(writer.parser.parse_many(texts)):
        for sentence in parsed.sentences:
            facts = current_facts(sentence.mentions, label_set)
            codes = np.array(sentence_facts(facts, writer.observations, sided=writer.sided).assertions)
            affirmed_NO[at] += (codes == STATED_PRESENT) | (codes == STATED_UNCERTAIN)
            denied_NO[at] += codes == STATED_ABSENT
    return Sentences(affirmed_NO=affirmed_NO[:, findings], denied_NO=denied_NO[:, findings])


def _gaps(results: Mapping[str, Sequence[Measured]]) -> dict[str, list[Floats]]:
    """The negated share of each cap minus that without, by seed: of all studies, then of resamples of patients."""
    gaps: dict[str, list[Floats]] = {}
    for name, found in results.items():
        if name == NO_CAP:
            continue
        for one, other in zip(found, results[NO_CAP], strict=True):
            weights = draw_weights(list(one.subject_ids), num_samples=_RESAMPLES, seed=0)
            weight_RN = np.concatenate((np.ones((1, weights.shape[1])), weights))
            gap = one.written.negated_share(weight_RN) - other.written.negated_share(weight_RN)
            gaps.setdefault(name, []).append(gap)
    return gaps


def _print_tables(results: Mapping[str, Sequence[Measured]], seeds: Sequence[int]) -> None:
    first = results[NO_CAP][0]
    everyone = np.ones((1, len(first.subject_ids)))
    reference = float(first.references.negated_share(everyone)[0])
    print(f"\n{len(first.subject_ids)} test studies, seeds {', '.join(map(str, seeds))}; references: {reference:.3f}\n")
    print("| | negated share of sentences | " + " | ".join(SCORES) + " |")
    print("| --- |" + " ---: |" * (len(SCORES) + 1))
    for name, found in results.items():
        shares = [float(one.written.negated_share(everyone)[0]) for one in found]
        cells = [
            mean_and_deviation(shares),
            *(mean_and_deviation([one.scores[score] for one in found]) for score in SCORES),
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    for name, gaps in _gaps(results).items():
        of_all = np.mean(gaps, axis=0)
        cells = ["{:+.3f} [{:+.3f}, {:+.3f}]".format(*interval(one)) for one in (of_all, *gaps)]
        print(f"\n{name} minus no cap, mean of the seeds, then each: {'; '.join(cells)}")
    print("\n| finding | references | " + " | ".join(results) + " |\n| --- | ---: |" + " ---: |" * len(results))
    for at, observation in enumerate(first.observations):
        cells = [mean_and_deviation([one.written.share_of(at) for one in found]) for found in results.values()]
        print(f"| {observation} | {first.references.share_of(at):.3f} | {' | '.join(cells)} |")


def _line(one: Measured) -> str:
    share = float(one.written.negated_share(np.ones((1, len(one.subject_ids))))[0])
    return f"negated share {share:.3f}, " + ", ".join(f"{name} {one.scores[name]:.3f}" for name in SCORES)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", required=True, help="store with shards to train on")
    parser.add_argument("--test-store", required=True, help="store with shards of other patients, of any split")
    parser.add_argument("--caps", nargs="+", type=float, default=[0.6], metavar="SHARE", help="caps to compare")
    parser.add_argument("--studies", type=int, default=1500, help="number of test studies")
    add_run_options(parser)
    add_stage1_option(parser)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
