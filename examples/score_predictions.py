"""Score the reports of any system against the references, with the same scores as the pipeline.

python examples/score_predictions.py predictions.csv
python examples/score_predictions.py predictions.csv --meteor --section impression

The CSV file has the columns `subject_id`, `study_id`, `reference` and `hypothesis`, one row per study. Truth scores
that need the clues of a TRRG model are left out. Intervals are 95 %, from resamples of patients.
"""

import argparse
import csv
from pathlib import Path

from trrg_core.labels import load_label_set
from trrg_core.metrics.score import Prediction, ScoringOptions, score_predictions
from trrg_core.report.parser import ReportParser


def main() -> None:
    """Score the file that the command line names."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("table", type=Path, help="CSV file of references and hypotheses")
    arguments.add_argument("--section", default="findings", help="report section of the texts, for the record")
    arguments.add_argument("--label-set", default="chexpert14", help="chexpert14, nih14 or a YAML file")
    arguments.add_argument("--meteor", action="store_true", help="METEOR too; starts a Java process")
    arguments.add_argument("--resamples", type=int, default=1000, help="bootstrap resamples; 0: no intervals")
    given = arguments.parse_args()
    predictions = read_predictions(given.table, ReportParser(given.label_set))
    options = ScoringOptions(
        label_set=load_label_set(given.label_set),
        section=given.section,
        meteor=given.meteor,
        bootstrap_samples=given.resamples,
    )
    scores = score_predictions(predictions, options)
    name = given.table.stem
    print(f"{name}: {scores.num_studies} studies of {scores.num_patients} patients, section {scores.section}")
    for name, value in sorted(scores.values.items()):
        interval = scores.intervals.get(name)
        print(f"{value:8.3f}  {name}" + (f"  ({interval.low:.3f} to {interval.high:.3f})" if interval else ""))
    for name, reason in sorted(scores.absent.items()):
        print(f"{'-':>8}  {name}: {reason}")


def read_predictions(path: Path, parser: ReportParser) -> list[Prediction]:
    """The rows of the file, both texts parsed alike."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    references = parser.parse_many([row["reference"] for row in rows])
    hypotheses = parser.parse_many([row["hypothesis"] for row in rows])
    return [
        Prediction(
            subject_id=row["subject_id"],
            study_id=row["study_id"],
            reference=row["reference"],
            reference_labels=reference.labels,
            hypothesis=row["hypothesis"],
            parsed=hypothesis,
        )
        for row, reference, hypothesis in zip(rows, references, hypotheses, strict=True)
    ]


if __name__ == "__main__":
    main()
