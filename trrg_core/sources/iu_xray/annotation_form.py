"""R2Gen's form of IU-Xray: one JSON file with lists of studies under train, val and test."""

from collections import defaultdict
from dataclasses import replace
from typing import Any

from trrg_core.errors import ConfigError, DataError
from trrg_core.sources.iu_xray.collected import Collected, parse_study_id
from trrg_core.sources.listing import StudyDraft
from trrg_core.sources.reading import read_index_file, read_json
from trrg_core.sources.report_layout import format_report
from trrg_core.storage.store import Store
from trrg_core.study import Image, Reject

_MAX_MALFORMED_ENTRIES = 100_000
ANNOTATIONS = ("annotation.json", "r2gen_style_annotation.json")


def read_annotation(store: Store) -> Collected:
    """The studies of the annotation file, each with the split under which it is listed.

    Raises:
        ConfigError: if the file is not JSON of that shape.
        StorageError: if the store fails.
    """
    collected = Collected()
    name = next(name for name in ANNOTATIONS if store.exists(name))
    try:
        lists = read_json(read_index_file(store, name), name)
        entries = [(split, entry) for split, entries in lists.items() for entry in entries]
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise ConfigError(f"{name}: expected lists of studies under train, val and test") from error
    by_id: dict[str, list[StudyDraft]] = defaultdict(list)
    for number, (split, entry) in enumerate(entries):
        try:
            draft = _parse_entry(name, split, entry)
        except DataError as error:
            collected.rejects.append(Reject(reason=error.reason, path=name, detail=f"entry {number}: {error}"))
            if len(collected.rejects) > _MAX_MALFORMED_ENTRIES:
                raise ConfigError(f"{name}: more than {_MAX_MALFORMED_ENTRIES} malformed entries") from error
            continue
        by_id[draft.study_id].append(draft)
    for study_id, drafts in by_id.items():
        if any(replace(draft, splits=()) != replace(drafts[0], splits=()) for draft in drafts):
            collected.rejects += [Reject(reason="duplicate_id", study_id=study_id, path=name) for _ in drafts]
            continue
        splits = tuple(sorted({split for draft in drafts for split in draft.splits}))
        collected.drafts.append(replace(drafts[0], splits=splits))
        collected.counts["duplicate_rows"] += len(drafts) - 1
    return collected


def _parse_entry(name: str, split: str, entry: Any) -> StudyDraft:
    try:
        study_id, text, paths = parse_study_id(str(entry["id"])), entry["report"], entry["image_path"]
    except (KeyError, TypeError, RecursionError) as error:
        raise DataError("malformed_row", "id, report or image_path is missing") from error
    if not isinstance(text, str) or not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise DataError("malformed_row", "report must be text and image_path a list of paths")
    return StudyDraft(
        subject_id=study_id,
        study_id=study_id,
        report_path=name,
        report=format_report({"FINDINGS": text}),
        images=tuple(Image(dicom_id=path.removesuffix(".png").replace("/", "_"), path=path) for path in paths),
        splits=(split,),
    )
