"""An invented corpus, drawn beside its folder and renamed when it is whole: what is there is never half a tree."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

from pipelines.records.progress import track
from trrg_core.errors import ConfigError
from trrg_core.sources.sample.layout import SampleSummary, write_sample


def drawn_before(folder: Path, studies: int, seed: int) -> bool:
    """Whether `trrg sample` wrote this very corpus before."""
    note = _note(folder)  # it outlives a tree that was removed
    return folder.is_dir() and note.is_file() and json.loads(note.read_text()) == {"studies": studies, "seed": seed}


def draw_sample(folder: Path, studies: int, seed: int) -> SampleSummary:
    """Draw into `<folder>.partial`, made anew, then rename it; a note beside the tree says what it is.

    Raises:
        ConfigError: if `folder` holds anything, or another's folder is in the way.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is not empty: the sample is written into a new folder")
    partial = folder.with_name(f"{folder.name}.partial")
    _clear(partial)
    with track("studies", studies) as advance:
        told = 0

        def on_progress(done: int) -> None:
            nonlocal told
            advance(done - told)
            told = done

        summary = write_sample(
            partial, num_studies=studies, seed=seed, on_progress=on_progress, num_processes=os.cpu_count() or 1
        )
    truth = folder.with_name(f"{folder.name}.truth.jsonl.gz")
    summary.truth_path.replace(truth)
    partial.replace(folder)
    _note(folder).write_text(json.dumps({"studies": studies, "seed": seed}))
    return replace(summary, root=folder, truth_path=truth)


def _clear(partial: Path) -> None:
    """Remove what an interrupted drawing left; a folder with anything else in it is not ours to remove."""
    if not partial.exists():
        return
    if not all(entry.name == "files" or entry.name.endswith(".csv.gz") for entry in partial.iterdir()):
        raise ConfigError(f"{partial} is in the way: the sample is drawn there first; move it")
    shutil.rmtree(partial)


def _note(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.sample.json")
