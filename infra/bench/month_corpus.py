"""The source of each night of a simulated month: it grows, drifts, breaks for a night, and changes its wording.

All studies are drawn once, from the seed; the export of a night is one table over the first of them, as a hospital's
would be. What changed on a night stays, except broken files, which are whole again on the next.
"""

import csv
import gzip
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trrg_core.sources.sample.layout import write_sample

COLUMNS = ("patient", "study", "date", "sex", "view", "image", "report")
DRIFTING = "Pleural Effusion"
BROKEN_SHARE = 0.4
KEPT_BYTES = 400  # of a broken image
# another dictation template: the same findings in other words, which the parser knows too
NEW_WORDS = {
    r"\bis no\b": "is absence of",
    r"\bpleural effusions?\b": "pleural fluid",
    r"\bThe lungs are clear\b": "Both lungs are free of focal abnormality",
    r"\bheart size\b": "cardiac silhouette",
    r"\bHeart size\b": "Cardiac silhouette",
    r"\bnormal\b": "within expected limits",
    r"\bCompared (to|with)\b": "In comparison with",
    r"\bpatient\b": "individual",
    r"\bchest\b": "thorax",
    r"\bstable\b": "unaltered",
}
OPENING = "Images reviewed on dedicated workstation; structured template version two applied throughout."


@dataclass(frozen=True, kw_only=True)
class Month:
    """When what happens, counted from night 1, and how many studies arrive."""

    nights: int = 30
    drift_on: int = 10
    break_on: int = 15
    reword_on: int = 20
    first_studies: int = 120
    per_night: int = 6
    batch: int = 60  # studies of the ward that joins when the data drifts
    seed: int = 7


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A study in the pool: its rows, and whether it has the finding that comes with the ward."""

    rows: tuple[dict[str, str], ...]
    is_drifting: bool


def draw_pool(folder: Path, month: Month) -> list[Drawn]:
    """All studies of the month, drawn into `folder/pool` if they are not there."""
    tree = folder / "pool"
    truth = tree.with_name("pool.truth.jsonl.gz")
    wanted = month.first_studies + month.nights * month.per_night + 4 * month.batch
    if not truth.exists():
        shutil.rmtree(tree, ignore_errors=True)
        write_sample(tree, num_studies=wanted, seed=month.seed)
    with gzip.open(truth, "rt", encoding="utf-8") as stream:
        labels = {record["study_id"]: record["labels"] for record in map(json.loads, stream)}
    rows: dict[str, list[dict[str, str]]] = {}
    for row in _export(tree):
        rows.setdefault(row["study"], []).append(row)
    return [Drawn(rows=tuple(of), is_drifting=labels[study].get(DRIFTING) == 1) for study, of in rows.items()]


def write_night(folder: Path, pool: Sequence[Drawn], month: Month, night: int) -> Path:
    """The export of `night`, in `folder/source`; returns the folder."""
    source = folder / "source"
    images = source / "images"
    images.mkdir(parents=True, exist_ok=True)
    studies = _studies_of(pool, month, night)
    broken = night == month.break_on
    limit = round(BROKEN_SHARE * len(studies)) if broken else 0
    rows = []
    for at, (study, is_reworded) in enumerate(studies):
        for row in study.rows:
            drawn = folder / "pool" / row["image"]
            target = images / drawn.name
            data = drawn.read_bytes()
            wanted = data[:KEPT_BYTES] if at < limit else data
            if not target.exists() or target.stat().st_size != len(wanted):
                target.write_bytes(wanted)
            text = reword(row["report"]) if is_reworded else row["report"]
            rows.append({**row, "image": f"images/{drawn.name}", "report": text})
    with (source / "export.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return source


def reword(report: str) -> str:
    """A report in the words of the new template."""
    for pattern, words in NEW_WORDS.items():
        report = re.sub(pattern, words, report)
    return re.sub(r"FINDINGS:\s*", f"FINDINGS:  {OPENING} ", report)


def _studies_of(pool: Sequence[Drawn], month: Month, night: int) -> list[tuple[Drawn, bool]]:
    """The studies of `night` with whether their report is reworded; those of the night before come first."""
    ward = [study for study in pool if study.is_drifting][: month.batch]
    others = [study for study in pool if study not in ward]
    found = [(study, False) for study in others[: month.first_studies]]
    arriving = iter(others[month.first_studies :])
    for now in range(2, night + 1):
        is_reworded = now >= month.reword_on
        count = 2 * month.batch if now == month.reword_on else month.per_night
        if now == month.drift_on:
            found += [(study, False) for study in ward]
        found += [(study, is_reworded) for study, _ in zip(arriving, range(count), strict=False)]
    return found


def _export(tree: Path) -> Iterator[dict[str, str]]:
    """The rows of an invented tree, one per radiograph; `image` is its path in the tree."""
    sexes = {row["subject_id"]: row["gender"] for row in _read(tree / "patients.csv.gz")}
    for row in _read(tree / "mimic-cxr-2.0.0-metadata.csv.gz"):
        patient, study = row["subject_id"], row["study_id"]
        folder = f"files/p{patient[:2]}/p{patient}"
        yield {
            "patient": patient,
            "study": study,
            "date": row["StudyDate"],
            "sex": sexes.get(patient, ""),
            "view": row["ViewPosition"],
            "image": f"{folder}/s{study}/{row['dicom_id']}.jpg",
            "report": (tree / f"{folder}/s{study}.txt").read_text("utf-8"),
        }


def _read(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))
