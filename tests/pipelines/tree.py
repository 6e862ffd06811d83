"""A small MIMIC-CXR tree that a test can change: studies as values, written as files and index files."""

import gzip
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from trrg_core.imaging.decode import encode_jpeg

COLUMNS = "dicom_id,subject_id,study_id,ViewPosition,StudyDate,StudyTime"


@dataclass
class Entry:
    """A study of the tree. `shade` makes its pixels; of its images the last may be cut short, or not be there."""

    subject: int
    date: str = "21800101"
    text: str = " FINDINGS:\n The lungs are clear.\n"
    shade: int = 90
    num_images: int = 1
    fault: Literal["", "cut", "lost"] = ""


@dataclass
class Tree:
    """`studies` by number; `write` makes the folder so, touching only files whose bytes change."""

    root: Path
    studies: dict[int, Entry] = field(default_factory=dict)
    more_columns: Sequence[str] = ()

    def report(self, number: int) -> Path:
        return self.root / f"files/p{self.studies[number].subject}/s{number}.txt"

    def image(self, number: int, index: int = 0) -> Path:
        return self.report(number).with_suffix("") / f"d{number}-{index}.jpg"

    def write(self) -> None:
        wanted = set()
        for number, entry in self.studies.items():
            files = {self.report(number): entry.text.encode()}
            files |= {self.image(number, at): _picture(entry.shade + at) for at in range(entry.num_images)}
            last = self.image(number, entry.num_images - 1)
            if entry.fault == "cut":
                files[last] = files[last][:-40]
            elif entry.fault == "lost":
                del files[last]
            for path, data in files.items():
                wanted.add(path)
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.exists() or path.read_bytes() != data:
                    path.write_bytes(data)
        for path in (self.root / "files").rglob("*.*"):
            if path not in wanted:
                path.unlink()
        self._write_index()

    def _write_index(self) -> None:
        studies, images = ["subject_id,study_id,path"], [",".join([COLUMNS, *self.more_columns])]
        for number, entry in sorted(self.studies.items()):
            studies.append(f"{entry.subject},{number},{self.report(number).relative_to(self.root)}")
            images += [
                ",".join(
                    [f"d{number}-{at},{entry.subject},{number},AP,{entry.date},1200", *("x" for _ in self.more_columns)]
                )
                for at in range(entry.num_images)
            ]
        for name, lines in (("cxr-study-list", studies), ("mimic-cxr-2.0.0-metadata", images)):
            (self.root / f"{name}.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))


def make_tree(root: Path, num_studies: int) -> Tree:
    """Two studies a patient, the second a day after the first."""
    entries = {
        50000001 + at: Entry(
            subject=10000001 + at // 2,
            date=f"218001{1 + at % 2:02d}",
            text=f" FINDINGS:\n Study number {'abcdefghijklmnopqrstuvwxyz'[at % 26] * 3} of all shows a clear lung.\n",
            shade=40 + at,
            num_images=1 + at % 2,
        )
        for at in range(num_studies)
    }
    tree = Tree(root, entries)
    root.mkdir(parents=True)
    tree.write()
    return tree


def _picture(shade: int) -> bytes:
    pixels = np.full((24, 32), shade % 256, np.uint8)
    pixels[:8, :8] = (shade + 128) % 256  # an image of one value is blank
    return encode_jpeg(pixels)
