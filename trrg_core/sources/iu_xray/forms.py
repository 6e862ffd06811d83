"""IU-Xray (Open-i) -> Listing: XML folder or .tgz, Kaggle's pair of CSV files, or R2Gen's annotation.json.

Every form gives the same ids: patient and study `CXR<uid>`. Reports are published as sections and are formatted in the
layout of MIMIC-CXR, so that one section parser reads all. R2Gen's fixed split is used when its file is in the folder.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from trrg_core.config.settings import SourceConfig
from trrg_core.errors import ConfigError, DataError
from trrg_core.sources.iu_xray.annotation_form import ANNOTATIONS, read_annotation
from trrg_core.sources.iu_xray.collected import Collected, parse_study_id
from trrg_core.sources.iu_xray.csv_form import REPORTS, read_csv_pair
from trrg_core.sources.iu_xray.image_paths import resolve_image_paths
from trrg_core.sources.iu_xray.xml_form import ARCHIVES, XML_FOLDER, read_xml
from trrg_core.sources.listing import build_listing
from trrg_core.sources.reading import read_index_file, read_rows
from trrg_core.storage.store import Store
from trrg_core.study import Listing, Reject

SPLIT = "r2gen_split.csv"


@dataclass(frozen=True, kw_only=True)
class _Form:
    """A published form: the files by which it is recognised, and its reader."""

    markers: tuple[str, ...]
    read: Callable[[Store], Collected]


_FORMS: Mapping[str, _Form] = {
    "xml": _Form(markers=(*ARCHIVES, XML_FOLDER), read=read_xml),
    "kaggle": _Form(markers=(REPORTS,), read=read_csv_pair),
    "r2gen": _Form(markers=ANNOTATIONS, read=read_annotation),
}


def list_studies(store: Store, config: SourceConfig) -> Listing:
    """The studies of an IU-Xray folder, each with its report as text.

    Without `image_folder` the images are searched for in the usual folders; missing ones are counted in
    `images_not_found` and left out, because the reports are often distributed without them.

    Raises:
        ConfigError: if the folder holds no form of IU-Xray, or not the configured one.
        StorageError: if the store fails.
    """
    collected = _detect_form(store, config).read(store)
    splits = _fixed_split(store, collected)
    # an annotation.json has its own split; R2Gen's list is for the forms that have none
    drafts = [replace(draft, splits=draft.splits or splits.get(draft.study_id, ())) for draft in collected.drafts]
    drafts = resolve_image_paths(store, config, drafts, collected)
    return build_listing(
        drafts,
        config,
        rejects=collected.rejects,
        counts=collected.counts,
        unknown_columns=collected.unknown_columns,
    )


def _detect_form(store: Store, config: SourceConfig) -> _Form:
    forms = list(_FORMS.values()) if config.iu_form == "auto" else [_FORMS[config.iu_form]]
    for form in forms:
        if any(store.exists(name) for name in form.markers):
            return form
    expected = ", ".join(name for form in forms for name in form.markers)
    raise ConfigError(f"{store.uri}: no IU-Xray reports; expected one of {expected}")


def _fixed_split(store: Store, collected: Collected) -> dict[str, tuple[str, ...]]:
    if not store.exists(SPLIT):
        return {}
    rows = read_rows(read_index_file(store, SPLIT), SPLIT, required=("id", "split"), optional=("n_images",))
    collected.rejects += rows.rejects
    splits: dict[str, set[str]] = defaultdict(set)
    for row in rows.rows:
        try:
            splits[parse_study_id(row["id"])].add(row["split"])
        except DataError as error:
            collected.rejects.append(Reject(reason=error.reason, path=SPLIT, detail=str(error)))
    return {study_id: tuple(sorted(names)) for study_id, names in splits.items()}
