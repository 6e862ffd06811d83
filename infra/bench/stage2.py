"""Stage 2: does the text follow the clues, is it grounded on the image, and what does each part of the model add?

    trrg sample --studies 2000 --seed 7 corpus && trrg sample --studies 1650 --seed 4242 fresh
    # ingest, parse and shard each into a store of its own: store, test-store
    python -m infra.bench.stage2 --store store --test-store test-store --truth fresh.truth.jsonl.gz
    python -m infra.bench.stage2 --store store --test-store test-store --truth fresh.truth.jsonl.gz --variants full

Trains stage 1 and every variant of stage 2 with every seed, in processes of one thread each and without Ray. Studies of
the test store are only generated on: one greedy draft each. What a draft states is read by the project's parser and
compared with the reference read by it, and with the drawn truth of the invented corpus, which the parser did not make.
Prints tables in Markdown (docs/stage2.md holds the last ones): mean and standard deviation over the seeds, and paired
differences with 95 % intervals over patients, of each seed and of the mean of the seeds. Runs and drafts that exist
already are not made again.
"""

import argparse
import gzip
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from infra.bench import stage2_conditions as conditions
from infra.bench.stage2_conditions import StudyFacts, Writer, unchecked
from infra.bench.stage2_scores import Floats, interval, paired_differences, score_text, score_turn
from infra.bench.variants import (
    add_run_options,
    add_stage1_option,
    run_variants,
    stage1_run,
    test_rows,
    variant_config,
)
from pipelines.running.newest_outputs import newest_outputs
from pipelines.running.run_job import run_job
from trrg_core.config.fingerprint import fingerprint
from trrg_core.config.load import load_config
from trrg_core.generation import image_conditions
from trrg_core.labels import SIDE_LEFT, SIDE_RIGHT, STATED_PRESENT, load_label_set
from trrg_core.model.model_folder import load_model_folder
from trrg_core.runs.stored_model import fetched_model
from trrg_core.storage.store import open_store

FULL = "full"
VARIANTS: Mapping[str, tuple[str, ...]] = {
    FULL: (),
    "clues off": ("finetune.clues=off",),
    "clues shuffled": ("finetune.clues=shuffled",),
    "clues and consistency off": ("finetune.clues=off", "finetune.consistency=false"),
    "consistency off": ("finetune.consistency=false",),
    "intended only": ("finetune.consistency_states=intended",),
    "clue text": ("finetune.clue_text=true",),
    "patches to the LLM": ("finetune.patch_tokens=true",),
    "interaction": ("finetune.interaction=true",),
    "interaction, clues off": ("finetune.interaction=true", "finetune.clues=off"),
    "interaction, clues and consistency off": (
        "finetune.interaction=true",
        "finetune.clues=off",
        "finetune.consistency=false",
    ),
    "interaction, consistency off": ("finetune.interaction=true", "finetune.consistency=false"),
    "interaction, intended only": ("finetune.interaction=true", "finetune.consistency_states=intended"),
    "interaction, clue text": ("finetune.interaction=true", "finetune.clue_text=true"),
    "sentences as written": ("finetune.sentence_order=written",),
    "no counterfactuals": (
        "finetune.turned_share=0",
        "finetune.turned_side_share=0",
        "finetune.turned_degree_share=0",
        "finetune.given_share=0",
    ),
}
UNCHECKED = "on, not checked"
_EVERY_CLUE = ("on", "off", "shuffled", "oracle")
_TURNS = ("up", "down", "side")
_FEW = 500  # studies for other images, and for turning the probability alone
_IMAGES = {
    "blank": image_conditions.blank,
    "noise": image_conditions.noise,
    "image of another study": conditions.other_study,
    "lower half masked": image_conditions.half_masked,
}
TEXT_SCORES = (
    "micro F1",
    "macro F1",
    "precision",
    "recall",
    "F1 of sided facts",
    "F1 of graded facts",
    "side agreement",
    "sides reported",
    "degree agreement",
    "hallucinated",
)
_DEGREE_BOUNDS = (0.38, 0.68)  # the extents at which the corpus changes its word for a degree

Scores = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A variant with one seed: its scores by `judge/condition`, and what its drafts, its clues and the judges state."""

    scores: Mapping[str, Scores]
    written: StudyFacts
    unchecked: StudyFacts | None
    clues: StudyFacts
    judges: Mapping[str, StudyFacts]
    subject_ids: Sequence[str]
    columns: Sequence[int]

    def minus(self, other: StudyFacts, judge: str) -> dict[str, Floats]:
        """The drafts minus `other`, by score (`paired_differences`)."""
        return paired_differences(self.written, other, self.judges[judge], self.columns, self.subject_ids)


def main() -> int:
    """Trains, generates and prints the tables."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    options = _parse_options()
    results = run_variants(options, VARIANTS, measure, lambda one: _line(one.scores["reference/on"]))
    if results is None:
        return 2
    _print_tables(results, options.seeds, options.base)
    return 0


def measure(options: argparse.Namespace, name: str, seed: int) -> Measured:
    """Trains one variant with one seed, and writes and reads its drafts."""
    torch.set_num_threads(1)
    run_id = train(options, name, seed)
    with fetched_model(open_store(options.store), run_id) as folder:
        loaded = load_model_folder(folder)
    rows = test_rows(options.test_store, options.studies)
    decoding = load_config("tiny", overrides=options.set).generate
    writer = Writer(loaded, rows, decoding=decoding)
    drafts = _Drafts(Path(options.cache) / run_id / fingerprint(options.test_store, len(rows), decoding), writer)
    columns = [at for at, label in enumerate(loaded.observations) if label != "No Finding"]
    judges = {
        "reference": writer.read([row["report"] for row in rows]),
        "drawn": drawn_facts(options.truth, [row["study_id"] for row in rows], loaded.observations, writer),
    }
    own = loaded.config.finetune.clues  # a model that was trained without clues is given none
    written = {"on": drafts.facts(own, partial(writer.write, source=own)), "clues alone": writer.clue_facts()}
    scores: dict[str, Scores] = {}
    if name == FULL:
        for source in _EVERY_CLUE[1:]:
            written[source] = drafts.facts(source, partial(_write, writer, judges, source))
        if decoding.check_margin is not None:
            written[UNCHECKED] = drafts.facts(UNCHECKED, partial(writer.write, decoding=unchecked(decoding)))
        few = Writer(loaded, rows[:_FEW], decoding=decoding)
        scores |= _turn(writer, few, drafts, columns)
        scores |= _ground(few, drafts, judges["reference"].first(_FEW), columns)
    for judge, wanted in judges.items():
        for condition, found in written.items():
            scores[f"{judge}/{condition}"] = score_text(found, wanted, columns)
    return Measured(
        scores=scores,
        written=written["on"],
        unchecked=written.get(UNCHECKED),
        clues=written["clues alone"],
        judges=judges,
        subject_ids=[row["subject_id"] for row in rows],
        columns=columns,
    )


def train(options: argparse.Namespace, name: str, seed: int) -> str:
    """The finished run of stage 2 of a variant and seed."""
    store = open_store(options.store)
    config = variant_config(seed, options.set, VARIANTS[name])
    shards = newest_outputs(store, ("shards",))["shards"]
    contrastive = stage1_run(options, config, shards, seed)
    return run_job("finetune", config, options.store, {"shards": shards, "contrastive": contrastive}).ref


def drawn_facts(path: str, study_ids: Sequence[str], observations: Sequence[str], writer: Writer) -> StudyFacts:
    """What was drawn for each study before its films and report were made from it."""
    label_set = load_label_set("chexpert14")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        truth = {study["study_id"]: study for study in map(json.loads, lines)}
    graded = writer.loaded.generator.perception.graded_O.tolist()
    shape = (len(study_ids), len(observations))
    assertion, side, degree = (np.zeros(shape, dtype=np.int8) for _ in range(3))
    bits = {"left": SIDE_LEFT, "right": SIDE_RIGHT, "both": SIDE_LEFT | SIDE_RIGHT, "": 0}
    for row, study_id in enumerate(study_ids):
        study = truth[study_id]
        for sign in study["signs"]:
            for name in label_set.observations_of(sign["finding"]) if sign["assertion"] == "PRESENT" else ():
                at = observations.index(name)
                assertion[row, at] = STATED_PRESENT
                side[row, at] |= bits[sign["side"]] if writer.sided[at] else 0
                degree[row, at] = 1 + sum(sign["extent"] >= bound for bound in _DEGREE_BOUNDS) if graded[at] else 0
        if study["devices"] and "Support Devices" in observations:
            assertion[row, observations.index("Support Devices")] = STATED_PRESENT
    return StudyFacts(assertion_NO=assertion, side_NO=side, degree_NO=degree)


class _Drafts:
    """The drafts of every condition, kept in files, and what they state."""

    def __init__(self, folder: Path, writer: Writer) -> None:
        self.folder, self.writer = folder, writer
        self.folder.mkdir(parents=True, exist_ok=True)

    def texts(self, condition: str, write: Callable[[], list[str]]) -> list[str]:
        """The drafts of `condition`, written if there are none."""
        path = self.folder / f"{condition.replace(' ', '_')}.json"
        if not path.exists():
            path.write_text(json.dumps(write()), encoding="utf-8")
        texts: list[str] = json.loads(path.read_text(encoding="utf-8"))
        return texts

    def facts(self, condition: str, write: Callable[[], list[str]]) -> StudyFacts:
        """What they state."""
        return self.writer.read(self.texts(condition, write))


def _write(writer: Writer, judges: Mapping[str, StudyFacts], source: str) -> list[str]:
    if source == "oracle":  # what the reference states in the section that is written
        return writer.given(judges["reference"])
    return writer.write(source=source)


def _turn(writer: Writer, few: Writer, drafts: _Drafts, columns: Sequence[int]) -> dict[str, Scores]:
    """Scores of one turned clue: of the text written anew, and of the draft revised by it."""
    perception = writer.loaded.generator.perception
    skip = [at for at in range(len(writer.observations)) if at not in columns]
    own = drafts.texts("on", writer.write)
    before, found = writer.read(own), {}
    for kind in _TURNS:
        turn = conditions.choose_turns(
            before,
            [row["study_id"] for row in writer.rows],
            kind=kind,
            sided=perception.sided_O.tolist(),
            graded=perception.graded_O.tolist(),
            skip=skip,
        )
        anew = drafts.texts(f"turned {kind}", partial(writer.turned, turn))
        found[f"turn/{kind}"] = score_turn(before, writer.read(anew), turn, kind, columns)
        if kind == "down":  # as denied findings are decoded
            anew = drafts.texts(f"turned {kind} guided", partial(writer.turned, turn, guided=True))
        revised = writer.read(writer.revised(own, anew, turn))
        found[f"turn/{kind}, draft revised"] = score_turn(before, revised, turn, kind, columns)
        if kind != "side":
            turn = turn.first(_FEW)
            after = drafts.facts(f"turned {kind} probability", partial(few.turned, turn, only_probability=True))
            found[f"turn/{kind}, probability alone"] = score_turn(before.first(_FEW), after, turn, kind, columns)
    return found


def _ground(writer: Writer, drafts: _Drafts, wanted: StudyFacts, columns: Sequence[int]) -> dict[str, Scores]:
    found = {}
    for name, image in _IMAGES.items():
        facts = drafts.facts(f"image {name}", partial(writer.write, image=image))
        found[f"image/{name}"] = score_text(facts, wanted, columns)
    return found


def _line(scores: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {scores[name]:.3f}" for name in TEXT_SCORES)


def _print_tables(results: Mapping[str, Sequence[Measured]], seeds: Sequence[int], bases: Sequence[str]) -> None:
    names = f"seeds {', '.join(map(str, seeds))}"
    full = results.get(FULL, [])
    for judge in ("reference", "drawn"):
        rows = {name: [one.scores[f"{judge}/on"] for one in found] for name, found in results.items()}
        if full:
            conditions_of_full = [key for key in (*_EVERY_CLUE[1:], UNCHECKED) if f"{judge}/{key}" in full[0].scores]
            rows |= {f"full, {key}": [one.scores[f"{judge}/{key}"] for one in full] for key in conditions_of_full}
            rows["clues alone, no text"] = [one.scores[f"{judge}/clues alone"] for one in full]
        print(f"\nJudged by the {judge}, {names}:\n")
        print(_table(rows, TEXT_SCORES))
    print("\nPaired over patients: the mean of the seeds, then each seed:\n")
    for base in bases:
        for judge in ("reference", "drawn") if base in results else ():
            of_base = results[base]
            _print_differences(f"{judge}: {base} minus clues alone", [one.minus(one.clues, judge) for one in of_base])
            checks = [one.minus(one.unchecked, judge) for one in of_base if one.unchecked is not None]
            if checks:
                _print_differences(f"{judge}: {base} minus the same, not checked", checks)
            for name in sorted(set(results) - {base}):
                pairs = zip(results[name], of_base, strict=True)
                differences = [one.minus(own.written, judge) for one, own in pairs]
                _print_differences(f"{judge}: {name} minus {base}", differences)
    if not full:
        return
    scores = [one.scores for one in full]
    print(f"\nOne clue turned, {names}:\n")
    turns = {key: [one[key] for one in scores] for key in scores[0] if key.startswith("turn/")}
    columns = ("studies", "followed", "side followed", "degree followed", "others changed", "other findings changed")
    print(_table(turns, columns))
    print(f"\nOther images, {names}:\n")
    print(_table({key: [one[key] for one in scores] for key in scores[0] if key.startswith("image/")}, TEXT_SCORES[:4]))


def _print_differences(name: str, by_seed: Sequence[Mapping[str, Floats]]) -> None:
    for score in by_seed[0]:
        of_seeds = [one[score] for one in by_seed]
        average: Floats = np.mean(of_seeds, axis=0)
        cells = ["{:+.3f} [{:+.3f}, {:+.3f}]".format(*interval(one)) for one in (average, *of_seeds)]
        print(f"- {name}, {score}: {'; '.join(cells)}")


def _table(rows: Mapping[str, Sequence[Scores]], columns: Sequence[str]) -> str:
    lines = ["| | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    for name, found in rows.items():
        cells = [_cell([one[column] for one in found if column in one]) for column in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(values: Sequence[float]) -> str:
    if not values:
        return "-"
    digits = 0 if max(values) >= 10 else 3
    deviation = f" \u00b1 {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{deviation}"


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", required=True, help="store with shards to train on")
    parser.add_argument("--test-store", required=True, help="store with shards of other patients, of any split")
    parser.add_argument("--truth", required=True, help="drawn truth of the corpus of the test store, .truth.jsonl.gz")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), metavar="NAME", help="variants to train")
    parser.add_argument(
        "--base", nargs="+", default=[FULL], metavar="NAME", help="variants that the others are compared with"
    )
    parser.add_argument("--studies", type=int, default=1500, help="number of test studies")
    parser.add_argument("--cache", default="stage2-drafts", help="folder for drafts")
    add_run_options(parser)
    add_stage1_option(parser)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
