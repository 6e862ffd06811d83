"""An invented corpus, written beside its folder and renamed when it is complete, so that no partial tree is read."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

from pipelines.records.progress import track
from trrg_core.errors import ConfigError
from trrg_core.sources.sample.layout import SampleSummary, write_sample
from trrg_core.sources.sample.styles import Styles
from trrg_core.storage.given_file import read_given_file


def is_drawn(folder: Path, studies: int, seed: int, styles: Styles = "plain") -> bool:
    """Whether `folder` holds the corpus of this size, seed and styles.

    Raises:
        ConfigError: if the folder has no name of its own, or the note beside it is damaged.
    """
    if not folder.name:
        raise ConfigError(f"{str(folder)!r}: give the name of a new folder")
    note = _note(folder)  # may be left over from a tree that was removed
    if not (folder.is_dir() and note.is_file()):
        return False
    try:
        return bool(json.loads(read_given_file(note)) == _drawn(studies, seed, styles))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{note} is damaged: remove it and {folder}, or give another folder") from error


def _drawn(studies: int, seed: int, styles: Styles) -> dict[str, int | str]:
    # plain corpora of before have no entry for it
    return {"studies": studies, "seed": seed} | ({"styles": styles} if styles != "plain" else {})


def draw_sample(folder: Path, studies: int, seed: int, styles: Styles = "plain") -> SampleSummary:
    """Draw the corpus in a new `<folder>.partial`, then rename it; a file beside the tree records size and seed.

    Raises:
        ConfigError: if `folder` is not empty, or `<folder>.partial` holds other files.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is not empty: the sample is written into a new folder")
    partial = folder.with_name(f"{folder.name}.partial")
    _clear(partial)
    with track("studies", studies) as advance:
        reported = 0

        def on_progress(done: int) -> None:
            nonlocal reported
            advance(done - reported)
            reported = done

        summary = write_sample(
            partial,
            num_studies=studies,
            seed=seed,
            on_progress=on_progress,
            num_processes=os.cpu_count() or 1,
            styles=styles,
        )
    truth = folder.with_name(f"{folder.name}.truth.jsonl.gz")
    summary.truth_path.replace(truth)
    partial.replace(folder)
    _note(folder).write_text(json.dumps(_drawn(studies, seed, styles)))
    return replace(summary, root=folder, truth_path=truth)


def _clear(partial: Path) -> None:
    """Remove what an interrupted run left behind.

    Raises:
        ConfigError: if it is a link or a file, or the folder holds anything that `write_sample` does not write.
    """
    if not partial.exists() and not partial.is_symlink():
        return
    if (
        partial.is_symlink()
        or not partial.is_dir()
        or not all(entry.name == "files" or entry.name.endswith(".csv.gz") for entry in partial.iterdir())
    ):
        raise ConfigError(f"{partial} is in the way: the sample is first written there; move it")
    shutil.rmtree(partial)


def _note(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.sample.json")
