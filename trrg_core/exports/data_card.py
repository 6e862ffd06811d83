"""The data card of an export, Markdown: what it holds, where it is from, how it is read, and on what terms.

Its first lines are YAML; Hugging Face `datasets` reads the splits from it. Not from tars: it wants as many images in
every sample.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from trrg_core.exports.study_values import IMAGE_COLUMNS, SLICE_COLUMNS, SPLIT_NAMES, STUDY_COLUMNS

_FILES: Mapping[str, tuple[str, ...]] = {
    "parquet": ("{split}-*.parquet",),
    "hf": ("{split}/metadata.parquet", "{split}/*/*.jpg"),
}
_LAYOUTS = {
    "parquet": "One Parquet row per study, without pixels; `images` lists what is known of each radiograph.",
    "hf": "One row per radiograph in `SPLIT/metadata.parquet`, with the columns of its study; `file_name` is the JPEG, "
    "relative to the folder of the split.",
    "webdataset": "One sample per study: a JSON with the columns below and `images`, and the radiographs as `0.jpg`, "
    "`1.jpg`, in the order of `images`.",
}
_READING = {
    "parquet": 'import pyarrow.dataset as ds\n\nstudies = ds.dataset("{folder}", exclude_invalid_files=True)',
    "hf": 'from datasets import load_dataset\n\ndata = load_dataset("{folder}")',
    "webdataset": 'import webdataset\n\ndata = webdataset.WebDataset("{folder}/train-000000.tar", shardshuffle=False)',
}
_IMPORT = """\
TRRG reads the folder again as a plain source: the same patients, studies and those before them, images, views, splits,
dates, sexes, ages and reports. JPEGs are decoded and encoded once more.

```yaml
preset: tiny
source:
  kind: plain
  root: {folder}
  plain: {{table: "*/metadata.parquet", image_path: "{{split}}/{{file_name}}", report_column: report,
          patient_column: subject_id, study_column: study_id, prior_column: prior_study_id, image_id_column: dicom_id,
          split_column: split, view_column: view_position, date_column: study_date, time_column: study_time,
          sex_column: sex, age_column: age_years}}
```
"""
_FOLDER = "path/to/this/folder"


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What the card tells.

    Attributes:
        manifest: as it is written beside the card, without the files.
        created_ms: when the version was committed, milliseconds since 1970.
        asked: number of targets of a slice.
        missed: those that it misses.
        is_slice: whether the version is a slice.
    """

    manifest: Mapping[str, Any]
    created_ms: int
    asked: int
    missed: int
    is_slice: bool


def write_card(facts: CardFacts) -> str:
    """The card."""
    manifest, layout = facts.manifest, facts.manifest["layout"]
    title = f"{manifest['ref']} ({manifest['name']})" if manifest["name"] else manifest["ref"]
    parts = [
        _front_matter(manifest),
        f"# {title}: chest radiographs and reports",
        _origin(facts),
        "Research data. Not for clinical use.",
        "## Content",
        _table(("split", "studies", "rows with repeats", "images", "patients"), _split_rows(manifest)),
        _left_out(manifest["left_out"]),
        "## Columns",
        _LAYOUTS[layout],
        _table(("column", "content"), _column_rows(facts)),
        _privacy(manifest),
        "## Reading",
        f"```python\n{_READING[layout].replace('{folder}', _FOLDER)}\n```",
        _IMPORT.format(folder=_FOLDER) if layout == "hf" else "",
        "`manifest.json` has the size and SHA-256 of every file.",
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _front_matter(manifest: Mapping[str, Any]) -> str:
    lines, patterns = ["---", "language: en", "license: other"], _FILES.get(manifest["layout"])
    if patterns:
        lines += ["configs:", "- config_name: default", "  data_files:"]
        for name in (SPLIT_NAMES[split] for split in manifest["splits"]):
            lines += [f"  - split: {name}", "    path:"]
            lines += [f'    - "{pattern.format(split=name)}"' for pattern in patterns]
    return "\n".join([*lines, "---"])


def _origin(facts: CardFacts) -> str:
    manifest = facts.manifest
    day = datetime.fromtimestamp(facts.created_ms / 1000, UTC).date().isoformat()
    made_from = f", made from {', '.join(manifest['made_from'])}" if manifest["made_from"] else ""
    text = f"Exported by TRRG {manifest['code_version']} from version {manifest['ref']} of {day}{made_from}."
    if facts.is_slice:
        text += (
            f" A slice is a sample of the train studies by their labels: it was asked for {facts.asked} targets and "
            f"misses {facts.missed}; `trrg show {manifest['ref']}` lists them. An epoch has each study `repeat` times; "
            "here each is once."
        )
    if manifest["only_split"]:
        text += f" Only the split {SPLIT_NAMES[manifest['only_split']]} was exported."
    return text


def _split_rows(manifest: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (SPLIT_NAMES[split], *(f"{count[name]:,}" for name in ("studies", "rows", "images", "patients")))
        for split, count in manifest["splits"].items()
    ]


def _left_out(counts: Mapping[str, int]) -> str:
    listed = ", ".join(f"{count:,} {reason}" for reason, count in counts.items())
    return f"Not exported: {listed}." if listed else ""


def _column_rows(facts: CardFacts) -> list[tuple[str, ...]]:
    columns = {**STUDY_COLUMNS, **(SLICE_COLUMNS if facts.is_slice else {})}
    images = {f"images.{name}": meaning for name, meaning in IMAGE_COLUMNS.items()}
    if facts.manifest["layout"] == "hf":
        columns, images = {"file_name": "the JPEG", **columns}, dict(IMAGE_COLUMNS)
    return [(f"`{name}`", meaning) for name, meaning in {**columns, **images}.items()]


def _privacy(manifest: Mapping[str, Any]) -> str:
    ids = (
        "Ids of patients, studies and images are keyed hashes (HMAC-SHA-256, 32 hex digits); paths and digests of the "
        "originals are left out. Dates and texts are as in the source."
        if manifest["id_key_check"]
        else "Ids, dates and texts are as in the source."
    )
    return (
        f"## Terms\n\nThe terms of the source apply to this copy, such as the data use agreement of MIMIC-CXR. {ids} "
        "Patients who withdrew from the store before the export are not in it. A copy knows nothing of later "
        "withdrawals: export again and delete this one."
    )


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
