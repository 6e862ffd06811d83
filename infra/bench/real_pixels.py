"""Stage 1 on real radiographs: findings of NIH thumbnails, and pairs of radiographs and clinical notes.

    python -m infra.bench.real_pixels nih --data shared/data
    python -m infra.bench.real_pixels covid --data shared/data

Trains the stage-1 model of a preset on shard rows made by the parser and the code of the shard job, in folds of whole
patients, and scores the patients that a fold leaves out. Beside it: the same model without stage 1 (pretrained
encoders, untrained projections), and a logistic regression on the frozen features of the image encoder. Exits with 1
if a floor is missed. The data is licensed and not part of the project; `make weights` makes the weights of `small`.
"""

import argparse
import csv
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from pipelines.jobs.parse import parse_batch
from trrg_core.config.load import load_config
from trrg_core.config.settings import TrrgConfig
from trrg_core.errors import DataError
from trrg_core.imaging.decode import decode_image, encode_jpeg
from trrg_core.labels import column_name, load_label_set
from trrg_core.metrics.bootstrap import draw_weights
from trrg_core.model.contrastive import ContrastiveModel, build_contrastive
from trrg_core.model.perception import build_perception, perceive
from trrg_core.model.similarity import score_texts
from trrg_core.report.flips import SentenceFlipper
from trrg_core.report.parser import ReportParser
from trrg_core.tables.rows.shard_row import shard_row
from trrg_core.training.collate import collate_images, collate_pretrain
from trrg_core.training.parameter_groups import RATE, parameter_groups
from trrg_core.training.prompts import load_prompts
from trrg_core.training.schedule import learning_rate_scale
from trrg_core.training.tokenization import encode_texts, load_tokenizer, pad_ids

ShardRow = dict[str, Any]
Scores = npt.NDArray[np.float64]

MIN_POSITIVES = 10
MIN_MACRO_AUROC = 0.60
RESAMPLES = 300
TOP = 5
# for minutes of one core: both encoders keep their weights, and the projections between them are learned
_FROZEN = (
    "pretrain.image_encoder.freeze=true",
    "pretrain.text_encoder.freeze=true",
    "pretrain.optimizer.learning_rate=3.0e-3",
)
# thumbnails have 64 pixels, of which 96 give the encoder a grid of 3 x 3
SETTINGS = {
    "nih": (
        *_FROZEN,
        "parse.label_set=nih14",
        "pretrain.image_size_px=96",
        "pretrain.sentences_per_study=2",
        "pretrain.batch_size=32",
        "pretrain.epochs=5",
    ),
    "covid": (*_FROZEN, "pretrain.image_size_px=128", "pretrain.sentences_per_study=3", "pretrain.epochs=8"),
}
# few thumbnails: four fifths to learn from; few pairs: half of them as candidates
FOLDS = {"nih": 5, "covid": 2}


@dataclass(frozen=True)
class Estimate:
    """A value with the ends of its 95 % interval over resampled patients."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def main() -> int:
    """Runs one of the two studies and prints its table; returns 1 if a floor is missed."""
    options = _parse_options()
    torch.set_num_threads(1)
    settings = [*SETTINGS[options.study], f"seed={options.seed}", *(options.settings or ())]
    config = load_config(options.preset, settings)
    study = {"nih": run_nih, "covid": run_covid}[options.study]
    started = sum(os.times()[:2])
    passed = study(Path(options.data), config, options.folds or FOLDS[options.study])
    print(f"{options.preset}, seed {options.seed}: {(sum(os.times()[:2]) - started) / 60:.1f} CPU-minutes")
    return 0 if passed else 1


def run_nih(data: Path, config: TrrgConfig, folds: int) -> bool:
    """Findings of patients that training did not see; whether both floors are met."""
    rows = list(nih_rows(data / "nih_64px", config))
    observations = load_label_set(config.parse.label_set).observations
    findings = [index for index, name in enumerate(observations) if name != "No Finding"]
    labels_NO = np.array([[row["labels"][column_name(name)] for name in observations] for row in rows])
    systems = ("stage 1", "no stage 1", "linear probe")
    scores = {name: np.zeros(labels_NO.shape) for name in systems}
    for train, test in patient_folds(rows, folds):
        trained, untrained, probe = _fold_scores(rows, train, test, config, observations, labels_NO)
        for name, fold in zip(systems, (trained, untrained, probe), strict=True):
            scores[name][test] = ranks(fold)
    chosen = [index for index in findings if labels_NO[:, index].sum() >= MIN_POSITIVES]
    patients = [row["subject_id"] for row in rows]
    print(f"NIH thumbnails: {len(rows)} images of {len(set(patients))} patients, {folds} folds of patients")
    print("| finding | positives | " + " | ".join(systems) + " |")
    for index in chosen:
        values = [roc_auc_score(labels_NO[:, index], scores[name][:, index]) for name in systems]
        cells = " | ".join(f"{value:.3f}" for value in values)
        print(f"| {observations[index]} | {labels_NO[:, index].sum()} | {cells} |")
    weights = draw_weights(patients, num_samples=RESAMPLES, seed=config.seed)
    macro = {name: _macro(labels_NO[:, chosen], scores[name][:, chosen], weights) for name in systems}
    estimates = {name: estimate(values) for name, values in macro.items()}
    print(f"| macro of {len(chosen)} | | " + " | ".join(str(value) for value in estimates.values()) + " |")
    gain = estimate(macro["stage 1"] - macro["no stage 1"])
    print(f"macro AUROC {estimates['stage 1']}, floor {MIN_MACRO_AUROC}; above no stage 1 by {gain}")
    return estimates["stage 1"].value > MIN_MACRO_AUROC and gain.low > 0


def run_covid(data: Path, config: TrrgConfig, folds: int) -> bool:
    """Recall among the pairs of patients that training did not see; whether it is above chance."""
    rows = [row for row in covid_rows(data / "covid_cxr", config) if row["sentences"]]
    patients = [row["subject_id"] for row in rows]
    hits = {name: np.zeros((len(rows), 2)) for name in ("stage 1", "no stage 1")}
    chance = np.zeros((len(rows), 2))
    for train, test in patient_folds(rows, folds):
        held_out = [rows[index] for index in test]
        tokenizer, untrained = _new_model(rows, config)
        hits["no stage 1"][test] = recall_hits(_pair_scores(untrained, tokenizer, held_out, config), held_out)
        trained = train_stage1(untrained, tokenizer, [rows[index] for index in train], config)
        hits["stage 1"][test] = recall_hits(_pair_scores(trained, tokenizer, held_out, config), held_out)
        chance[test] = chance_of_hit(held_out)[:, None]
    weights = draw_weights(patients, num_samples=RESAMPLES, seed=config.seed)
    print(
        f"radiographs and notes: {len(rows)} pairs of {len(set(patients))} patients, {folds} folds of patients, "
        f"{len(rows) // folds} candidates"
    )
    print(f"| system | recall@{TOP} | of texts for an image | of images for a text | above chance by |")
    above = {}
    for name, found in hits.items():
        gain = estimate(_weighted_mean((found - chance).mean(1), weights))
        means = [estimate(_weighted_mean(values, weights)) for values in (found.mean(1), found[:, 0], found[:, 1])]
        print(f"| {name} | {' | '.join(str(value) for value in means)} | {gain} |")
        above[name] = gain
    print(f"recall@{TOP} at chance {chance.mean():.3f}; stage 1 above it by {above['stage 1']}")
    return above["stage 1"].low > 0


def nih_rows(folder: Path, config: TrrgConfig) -> Iterator[ShardRow]:
    """One study per thumbnail; its report is the affirming prompts of its labels, and the other findings are absent."""
    observations = load_label_set(config.parse.label_set).observations
    prompts = dict(zip(observations, load_prompts(observations), strict=True))
    entries = _read_table(folder / "labels.csv")
    reports = []
    for number, entry in enumerate(entries):
        names = entry["Finding Labels"].split("|")
        texts = [prompts[name].present[number % len(prompts[name].present)] for name in names]
        reports.append(_report(entry["Patient ID"], entry["Image Index"], " ".join(texts)))
    images = [(folder / "images" / entry["Image Index"], entry["View Position"]) for entry in entries]
    for row, entry in zip(_shard_rows(reports, images, config), entries, strict=True):
        present = entry["Finding Labels"].split("|")
        yield {**row, "labels": {column_name(name): int(name in present) for name in observations}}


def covid_rows(folder: Path, config: TrrgConfig) -> Iterator[ShardRow]:
    """One study per radiograph with its clinical notes."""
    entries = _read_table(folder / "metadata.csv")
    reports = [_report(entry["patientid"], entry["filename"], entry["clinical_notes"]) for entry in entries]
    images = [(folder / "images" / entry["filename"], entry["view"].partition(" ")[0]) for entry in entries]
    yield from _shard_rows(reports, images, config)


def patient_folds(
    rows: Sequence[ShardRow], folds: int
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Indices of train and test rows of each fold; no patient is in both."""
    patients = [row["subject_id"] for row in rows]
    yield from GroupKFold(n_splits=folds, shuffle=True, random_state=0).split(np.zeros(len(rows)), groups=patients)


def train_stage1(model: ContrastiveModel, tokenizer: Any, rows: Sequence[ShardRow], config: TrrgConfig) -> Any:
    """`model` trained on `rows` in place, by the batches, losses, groups and schedule of the pretrain job."""
    stage, observations = config.pretrain, load_label_set(config.parse.label_set).observations
    steps_per_epoch = len(rows) // stage.batch_size
    total = max(1, math.ceil(steps_per_epoch * stage.epochs))
    optimizer = torch.optim.AdamW(
        parameter_groups(model, stage.optimizer), lr=0.0, betas=(stage.optimizer.beta1, stage.optimizer.beta2)
    )
    rng = np.random.default_rng(config.seed)
    order = np.concatenate([rng.permutation(len(rows)) for _ in range(math.ceil(stage.epochs) + 1)])
    torch.manual_seed(config.seed)
    model.train()
    for step in range(total):
        for group in optimizer.param_groups:
            scale = learning_rate_scale(step, total, stage.optimizer)
            group["lr"] = stage.optimizer.learning_rate * scale * group[RATE]
        chosen = [rows[index] for index in order[step * stage.batch_size : (step + 1) * stage.batch_size]]
        batch = collate_pretrain(
            chosen,
            tokenizer=tokenizer,
            prompts=load_prompts(observations),
            observations=observations,
            config=stage,
            seed=config.seed * 100_000 + step,
        )
        optimizer.zero_grad()
        loss = model(batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.engine.clip_norm)
        optimizer.step()
        if step % 10 == 0 or step + 1 == total:
            print(f"  step {step + 1} of {total}: loss {loss.item():.3f}", file=sys.stderr)
    return model.eval()


def ranks(scores_NO: Scores) -> Scores:
    """The share of studies below each score, per finding: comparable between models, whose scales differ."""
    return np.asarray(scores_NO.argsort(0).argsort(0) / len(scores_NO))


def recall_hits(scores_NN: Scores, rows: Sequence[ShardRow]) -> Scores:
    """Whether the own text is among the best for each image, and the own image for each text: `[N,2]`, 0 or 1.

    Args:
        scores_NN: score of each text (row) with each image (column).
        rows: the pairs; images with the same text are each right for it.
    """
    texts = [row["report"] for row in rows]
    same_NN = np.array([[one == other for other in texts] for one in texts])
    hits: list[npt.NDArray[np.bool_]] = []
    for scores in (scores_NN.T, scores_NN):
        best = np.argsort(-scores, axis=1)[:, :TOP]
        hits.append(np.take_along_axis(same_NN, best, axis=1).any(1))
    return np.stack(hits, axis=1).astype(np.float64)


def chance_of_hit(rows: Sequence[ShardRow]) -> Scores:
    """The probability that a random choice of the best has a right text, per pair `[N]`."""
    texts = [row["report"] for row in rows]
    total = math.comb(len(texts), TOP)
    return np.array([1 - math.comb(len(texts) - texts.count(text), TOP) / total for text in texts])


def estimate(values: Scores) -> Estimate:
    """The first of `values`, with the percentiles of the others."""
    low, high = np.nanpercentile(values[1:], [2.5, 97.5])
    return Estimate(float(values[0]), float(low), float(high))


def _fold_scores(
    rows: Sequence[ShardRow],
    train: npt.NDArray[np.int64],
    test: npt.NDArray[np.int64],
    config: TrrgConfig,
    observations: Sequence[str],
    labels_NO: npt.NDArray[np.int64],
) -> tuple[Scores, Scores, Scores]:
    """Scores of the test rows by stage 1, by the same model before it, and by a linear probe."""
    tokenizer, model = _new_model(rows, config)
    held_out = [rows[index] for index in test]
    untrained = _perceived(model, tokenizer, held_out, config, observations)
    features_NC = np.concatenate(list(_image_batches(model, rows, config, lambda f: f.hidden_BVPC[:, 0].mean(1))))
    scaler = StandardScaler().fit(features_NC[train])
    probe = np.zeros((len(test), len(observations)))
    for index in range(len(observations)):
        if labels_NO[train, index].any():
            regression = LogisticRegression(C=0.01, max_iter=1000, class_weight="balanced")
            regression.fit(scaler.transform(features_NC[train]), labels_NO[train, index])
            probe[:, index] = regression.decision_function(scaler.transform(features_NC[test]))
    trained = train_stage1(model, tokenizer, [rows[index] for index in train], config)
    return _perceived(trained, tokenizer, held_out, config, observations), untrained, probe


def _new_model(rows: Sequence[ShardRow], config: TrrgConfig) -> tuple[Any, ContrastiveModel]:
    stage = config.pretrain
    texts = [sentence["text"] for row in rows for sentence in row["sentences"]]
    tokenizer = load_tokenizer(
        stage.text_encoder.pretrained, texts, vocabulary_size=stage.vocabulary_size, lowercase=True
    )
    torch.manual_seed(config.seed)
    model = build_contrastive(config, tokenizer, load_label_set(config.parse.label_set).observations)
    return tokenizer, model.eval()


def _perceived(
    model: ContrastiveModel, tokenizer: Any, rows: Sequence[ShardRow], config: TrrgConfig, observations: Sequence[str]
) -> Scores:
    perception = build_perception(model, tokenizer, observations).eval()
    parts = []
    for at in range(0, len(rows), config.pretrain.batch_size):
        chosen = rows[at : at + config.pretrain.batch_size]
        batch = collate_images(chosen, observations=observations, config=config.pretrain)
        parts.append(perceive(model, perception, batch).score_BO.double().numpy())
    return np.concatenate(parts)


@torch.no_grad()
def _image_batches(
    model: ContrastiveModel, rows: Sequence[ShardRow], config: TrrgConfig, function: Callable[[Any], torch.Tensor]
) -> Iterator[Scores]:
    observations = load_label_set(config.parse.label_set).observations
    for at in range(0, len(rows), config.pretrain.batch_size):
        chosen = rows[at : at + config.pretrain.batch_size]
        batch = collate_images(chosen, observations=observations, config=config.pretrain)
        yield function(model.encode_images(batch)).double().numpy()


@torch.no_grad()
def _pair_scores(model: ContrastiveModel, tokenizer: Any, rows: Sequence[ShardRow], config: TrrgConfig) -> Scores:
    """Score of each text (row) with each image (column): the mean over the sentences of the text."""
    texts = [sentence["text"] for row in rows for sentence in row["sentences"]]
    owner = np.repeat(np.arange(len(rows)), [len(row["sentences"]) for row in rows])
    encoded = encode_texts(tokenizer, texts, max_tokens=config.pretrain.max_sentence_tokens)
    text_SD = model.text(*pad_ids(encoded, pad_id=tokenizer.pad_token_id))
    scores_SN = np.concatenate(
        list(_image_batches(model, rows, config, lambda f: score_texts(text_SD, f, sharpness=model.sharpness)[0].T))
    ).T
    return np.stack([scores_SN[owner == index].mean(0) for index in range(len(rows))])


def _macro(labels_NF: npt.NDArray[np.int64], scores_NF: Scores, weights: Scores) -> Scores:
    """Macro AUROC of all studies, then of each resample; a resample leaves out findings that it has none of."""
    values = []
    for weight in np.concatenate((np.ones((1, len(labels_NF))), weights)):
        kept = weight > 0
        of_finding = [
            roc_auc_score(labels[kept], scores[kept], sample_weight=weight[kept])
            for labels, scores in zip(labels_NF.T, scores_NF.T, strict=True)
            if 0 < labels[kept].sum() < kept.sum()
        ]
        values.append(np.mean(of_finding))
    return np.array(values)


def _weighted_mean(values_N: Scores, weights: Scores) -> Scores:
    resampled = (weights @ values_N) / weights.sum(1)
    return np.concatenate(([values_N.mean()], resampled))


def _report(patient: str, name: str, text: str) -> dict[str, str]:
    return {"subject_id": patient, "study_id": Path(name).stem, "split": "train", "report": f"FINDINGS: {text}"}


def _shard_rows(
    reports: Sequence[dict[str, str]], images: Sequence[tuple[Path, str]], config: TrrgConfig
) -> Iterator[ShardRow]:
    parsed = {
        row["study_id"]: row for row in parse_batch(pa.Table.from_pylist(list(reports)), config.parse).rows.to_pylist()
    }
    parser = ReportParser(config.parse.label_set)
    flipper = SentenceFlipper(parser)
    for report, (path, view) in zip(reports, images, strict=True):
        pixels = decode_image(path.read_bytes())
        size = {"rows": pixels.shape[0], "columns": pixels.shape[1]}
        image = {"view_position": view if view in ("PA", "AP") else "", "jpeg": encode_jpeg(pixels, 95), **size}
        unknown = {"study_date": "", "prior_study_id": "", "sex": "", "age_years": None}
        study = {**report, **unknown, "images": [image]}
        try:
            yield shard_row(
                study, parsed.get(report["study_id"]), config.shard, flipper=flipper, label_set=parser.label_set
            )
        except DataError:
            yield {**study, "views": [], "sentences": [], "labels": {}}


def _read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=sorted(SETTINGS), help="findings of NIH thumbnails, or pairs with notes")
    parser.add_argument("--data", default="shared/data", help="folder with nih_64px and covid_cxr")
    parser.add_argument("--preset", default="small", help="preset or YAML file")
    parser.add_argument("--folds", type=int, help=f"number of folds of patients, by default {FOLDS}")
    parser.add_argument("--seed", type=int, default=7, help="seed of weights, order and draws")
    parser.add_argument("--set", dest="settings", action="append", metavar="KEY=VALUE", help="one more setting")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
