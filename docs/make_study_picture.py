"""Draws one generated report with what supports it: the film, the sentences by support, and the clues behind them.

python docs/make_study_picture.py --store demo/store --study 54523049 docs/_static/study.png

Use it on invented studies only: the picture holds a radiograph and the text of two reports.
"""

import argparse
import io
import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from PIL import Image

from trrg_core.clue import Clue, clues_from_rows
from trrg_core.evidence import ReportEvidence, Support, gather_evidence
from trrg_core.labels import load_label_set
from trrg_core.model.calibration import thresholds_from_json
from trrg_core.report.parser import ReportParser
from trrg_core.runs.results import list_results, run_path
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.delta import read_table
from trrg_core.tables.table_ref import TableRef

# after the Okabe-Ito palette, darker where it is text on white; each colour also has its word
COLOURS = {
    Support.SUPPORTED: "#00805D",
    Support.WEAK: "#7A8F00",
    Support.UNSUPPORTED: "#B36B00",
    Support.CONTRADICTED: "#C04A00",
    Support.NOT_CHECKABLE: "#6E7781",
}
WORDS = {
    Support.SUPPORTED: "supported",
    Support.WEAK: "weakly supported",
    Support.UNSUPPORTED: "unsupported",
    Support.CONTRADICTED: "contradicted",
    Support.NOT_CHECKABLE: "not checkable",
}
INK, FAINT = "#1F2328", "#6E7781"
NUM_CLUES = 9


@dataclass(frozen=True, kw_only=True)
class PictureStudy:
    """What the picture shows of one study."""

    study_id: str
    film_jpeg: bytes
    reference: str
    hypothesis: str
    evidence: ReportEvidence


def main() -> None:
    """Draw the picture of the study that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default="demo/store", help="store with an evaluated run")
    parser.add_argument("--study", default="", help="study id; default: the first that shows every kind of support")
    parser.add_argument("picture", type=Path, help="PNG file to write")
    options = parser.parse_args()
    draw(read_study(open_store(options.store), options.study), options.picture)


def read_study(store: Store, study_id: str = "") -> PictureStudy:
    """The study of the newest evaluation, or the first one with every status but perhaps "weakly supported"."""
    inputs = list_results(store, "evaluate")[0].inputs
    label_set = load_label_set("chexpert14")
    calibration = json.loads(store.read_bytes(f"{run_path(inputs['generator'])}/model/perception.json"))
    thresholds = thresholds_from_json(calibration, label_set.observations)
    predictions = read_table(store, TableRef.parse(inputs["predictions"])).to_pylist()
    shards = read_table(store, TableRef.parse(inputs["shards"]), split=predictions[0]["split"]).to_pylist()
    by_id = {row["study_id"]: row for row in shards}
    report_parser = ReportParser(label_set.name)
    for row in predictions:
        if study_id and row["study_id"] != study_id:
            continue
        shard: dict[str, Any] = by_id[row["study_id"]]
        evidence = gather_evidence(
            report_parser.parse(row["hypothesis"]),
            clues=clues_from_rows(row["clues"], thresholds),
            label_set=label_set,
            has_prior=shard["has_prior"],
        )
        if study_id or {sentence.status for sentence in evidence.sentences} | {Support.WEAK} == set(Support):
            return PictureStudy(
                study_id=row["study_id"],
                film_jpeg=shard["views"][0]["jpeg"],
                reference=shard["report"],
                hypothesis=row["hypothesis"],
                evidence=evidence,
            )
    raise SystemExit(f"no study {study_id or 'with every kind of support'} in {inputs['predictions']}")


def draw(study: PictureStudy, path: Path) -> None:
    """Write the picture as PNG."""
    plt.rcParams.update({"font.family": "DejaVu Sans", "text.color": INK, "font.size": 10})
    figure, (film, text, clues) = plt.subplots(
        1, 3, figsize=(13.2, 5.2), width_ratios=(4.2, 5.6, 3.0), facecolor="white"
    )
    _draw_film(film, study)
    _draw_sentences(text, study)
    _draw_clues(clues, study.evidence.clues)
    figure.subplots_adjust(left=0.01, right=0.985, top=0.92, bottom=0.09, wspace=0.06)
    # the clue names stand left of their axes
    box = clues.get_position()
    clues.set_position((box.x0 + 0.085, box.y0, box.width - 0.085, box.height))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_film(axes: Axes, study: PictureStudy) -> None:
    axes.imshow(Image.open(io.BytesIO(study.film_jpeg)).convert("L"), cmap="gray", vmin=0, vmax=255)
    axes.set_title(f"study {study.study_id} (invented, drawn)", fontsize=10, loc="left")
    axes.axis("off")


def _draw_sentences(axes: Axes, study: PictureStudy) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.axis("off")
    axes.set_title("generated report", fontsize=10, loc="left")
    y, step = 0.98, 0.047
    for sentence in study.evidence.sentences:
        lines = textwrap.wrap(study.hypothesis[sentence.start : sentence.end], 62)
        height = step * (len(lines) + 1)
        colour = COLOURS[sentence.status]
        axes.plot([0.008, 0.008], [y, y - height + 0.012], color=colour, linewidth=5, solid_capstyle="butt")
        axes.text(0.03, y, "\n".join(lines), va="top", linespacing=1.15)
        axes.text(0.03, y - step * len(lines), _reason(sentence), va="top", fontsize=8.5, color=colour, weight="bold")
        y -= height + 0.012
    axes.text(0, y - 0.015, "radiologist's report (the reference)", va="top", fontsize=10)
    reference = "\n".join(textwrap.wrap(study.reference, 78))
    axes.text(0.03, y - 0.07, reference, va="top", fontsize=8.5, color=FAINT, linespacing=1.2)


def _reason(sentence: Any) -> str:
    clues = [item.clue for item in sentence.mentions if item.status is sentence.status and item.clue]
    if not clues:
        return WORDS[sentence.status]
    clue = min(clues, key=lambda item: abs(item.probability - item.threshold))
    side = f" {clue.laterality}" if clue.is_shown and clue.laterality else ""
    return f"{WORDS[sentence.status]}: {clue.observation}{side} {clue.probability:.2f}, threshold {clue.threshold:.2f}"


def _draw_clues(axes: Axes, clues: Sequence[Clue]) -> None:
    shown = sorted(clues, key=lambda clue: clue.threshold - clue.probability)[:NUM_CLUES]
    for at, clue in enumerate(reversed(shown)):
        axes.barh(at, clue.probability, height=0.56, color="#0072B2" if clue.is_shown else "#B9C4CF")
        axes.plot([clue.threshold] * 2, [at - 0.38, at + 0.38], color=INK, linewidth=2)
    axes.set_yticks(range(len(shown)), [clue.observation for clue in reversed(shown)], fontsize=9)
    axes.set(xlim=(0, 1), xticks=(0, 0.5, 1))
    axes.tick_params(length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_title("disease clues (line: threshold)", fontsize=10, loc="left", x=-0.75)


if __name__ == "__main__":
    main()
