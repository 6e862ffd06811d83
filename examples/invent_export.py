"""Write an invented export of a hospital: one CSV file with a row per radiograph, and the image files.

python examples/invent_export.py --studies 200 my-export

The reports and radiographs are invented and drawn. The columns have other names than TRRG's own, as yours will.
"""

import argparse
import csv
import gzip
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from trrg_core.sources.sample.layout import write_sample

COLUMNS = ("PatientID", "AccessionNumber", "StudyDate", "Sex", "View", "ImageFile", "ReportText")


def main() -> None:
    """Write the export that the command line asks for."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=Path, help="new folder of the export")
    arguments.add_argument("--studies", type=int, default=200, help="number of studies")
    given = arguments.parse_args()
    (given.folder / "images").mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        write_sample(Path(scratch) / "tree", num_studies=given.studies, seed=7)
        rows = list(_export(Path(scratch) / "tree", given.folder))
    with (given.folder / "export.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    print(f"{given.folder}/export.csv: {len(rows)} radiographs of {given.studies} studies")


def _export(tree: Path, export: Path) -> Iterator[dict[str, str]]:
    """Copy each image of an invented MIMIC-CXR tree into the export, and give the row of its table."""
    sexes = {row["subject_id"]: row["gender"] for row in _read(tree / "patients.csv.gz")}
    for row in _read(tree / "mimic-cxr-2.0.0-metadata.csv.gz"):
        patient, study, image = row["subject_id"], row["study_id"], f"{row['dicom_id']}.jpg"
        folder = tree / "files" / f"p{patient[:2]}" / f"p{patient}"
        shutil.copy(folder / f"s{study}" / image, export / "images" / image)
        yield {
            "PatientID": patient,
            "AccessionNumber": study,
            "StudyDate": row["StudyDate"],
            "Sex": sexes.get(patient, ""),
            "View": row["ViewPosition"],
            "ImageFile": image,
            "ReportText": (folder / f"s{study}.txt").read_text("utf-8"),
        }


def _read(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


if __name__ == "__main__":
    main()
