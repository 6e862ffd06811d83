"""IU-Xray (Open-i) in the forms it is passed on in: XML folder or .tgz, Kaggle's CSV pair, R2Gen's annotation.json.

Every form gives the same ids: patient and study `CXR<uid>`. Reports come as sections and are laid out as MIMIC-CXR
lays out its own, so that one section parser reads all. R2Gen's fixed split is used wherever its file is there.
"""

import io
import json
import re
import tarfile
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from trrg_core.config.settings import SourceConfig
from trrg_core.errors import ConfigError, DataError
from trrg_core.sources.listing import Draft, build_listing
from trrg_core.sources.reading import read_rows, settle_duplicates
from trrg_core.storage.store import Store, relative_path
from trrg_core.study import Image, Listing, Reject

ARCHIVES = ("ecgen-radiology.tgz", "NLMCXR_reports.tgz")
XML_FOLDER = "ecgen-radiology"
REPORTS = "indiana_reports.csv"
PROJECTIONS = "indiana_projections.csv"
ANNOTATIONS = ("annotation.json", "r2gen_style_annotation.json")
SPLIT = "r2gen_split.csv"

_IMAGE_FOLDERS = ("images/images_normalized", "images", "NLMCXR_png")
_MAX_XML_BYTES = 1_000_000
_UID = re.compile(r"(?:CXR)?(\d{1,6})(?:_.*)?")
_SECTIONS = ("COMPARISON", "INDICATION", "FINDINGS", "IMPRESSION")


@dataclass
class _Found:
    drafts: list[Draft] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    unknown_columns: dict[str, tuple[str, ...]] = field(default_factory=dict)


def list_studies(store: Store, config: SourceConfig) -> Listing:
    """The studies of an IU-Xray folder, each with its report as text.

    Without `image_folder` the images are looked for in the usual places; those not there are counted in
    `images_not_found` and left out, for the reports are often passed on alone.

    Raises:
        ConfigError: if the folder holds no form of IU-Xray, or not the one asked for.
        StorageError: if the store fails.
    """
    form = _form(store, config)
    found = _FORMS[form](store)
    splits = _fixed_split(store, found)
    # an annotation.json brings its own split; the list of R2Gen's is for the forms that have none
    drafts = [replace(draft, splits=draft.splits or splits.get(draft.study_id, ())) for draft in found.drafts]
    drafts = _place_images(store, config, drafts, found)
    return build_listing(
        drafts,
        config,
        rejects=found.rejects,
        counts=found.counts,
        unknown_columns=found.unknown_columns,
    )


def lay_out(sections: Mapping[str, str]) -> str:
    """A report of `sections` (name to text) laid out as MIMIC-CXR does; empty when no section has text.

    White space inside a section becomes single spaces, so that no line of it can pass for a header.
    """
    texts = {name: " ".join(text.split()) for name, text in sections.items()}
    if not any(texts.values()):
        return ""
    return " FINAL REPORT\n" + "".join(f" {name}:\n \n {text}\n \n" for name, text in texts.items() if text)


def _form(store: Store, config: SourceConfig) -> str:
    signs = {"xml": (*ARCHIVES, XML_FOLDER), "kaggle": (REPORTS,), "r2gen": ANNOTATIONS}
    asked = list(signs) if config.iu_form == "auto" else [config.iu_form]
    for form in asked:
        if any(store.exists(name) for name in signs[form]):
            return form
    wanted = [name for form in asked for name in signs[form]]
    raise ConfigError(f"{store.uri}: no IU-Xray reports; expected one of {', '.join(wanted)}")


def _read_xml(store: Store) -> _Found:
    found = _Found()
    by_id: dict[str, list[Draft]] = defaultdict(list)
    for name, data in _xml_files(store, found):
        try:
            draft = _parse_xml(name, data)
        except DataError as error:
            found.rejects.append(Reject(reason=error.reason, path=name, detail=str(error)))
            continue
        by_id[draft.study_id].append(draft)
    for study_id, drafts in by_id.items():
        if all(replace(draft, report_path="") == replace(drafts[0], report_path="") for draft in drafts):
            found.drafts.append(drafts[0])
            found.counts["duplicate_rows"] += len(drafts) - 1
        else:
            found.rejects += [
                Reject(reason="duplicate_id", study_id=study_id, path=draft.report_path, detail="files differ")
                for draft in drafts
            ]
    return found


def _xml_files(store: Store, found: _Found) -> Iterator[tuple[str, bytes]]:
    for archive in ARCHIVES:
        if store.exists(archive):
            yield from _archive_members(archive, store.read_bytes(archive), found)
            return
    for path in store.list(XML_FOLDER):
        if path.endswith(".xml"):
            try:
                yield path, store.read_bytes(path, _MAX_XML_BYTES)
            except DataError as error:
                found.rejects.append(Reject(reason=error.reason, path=path, detail=str(error)))


def _archive_members(archive: str, data: bytes, found: _Found) -> Iterator[tuple[str, bytes]]:
    # members are read, never extracted: a hostile name can only be refused
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:*") as tar:
            for member in tar:
                if member.isdir():
                    continue
                problem = _member_problem(member)
                if problem:
                    found.rejects.append(Reject(reason=problem, path=archive, detail=f"member {member.name[:200]!r}"))
                elif member.name.endswith(".xml"):
                    stream = tar.extractfile(member)
                    if stream is not None:
                        yield relative_path(member.name), stream.read(_MAX_XML_BYTES)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ConfigError(f"{archive}: cut or broken; fetch the file again") from error


def _member_problem(member: tarfile.TarInfo) -> str:
    try:
        relative_path(member.name)
    except DataError as error:
        return error.reason
    if not member.isfile():
        return "not_a_file"
    return "file_too_large" if member.size > _MAX_XML_BYTES else ""


def _parse_xml(name: str, data: bytes) -> Draft:
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise DataError("unsafe_xml", f"{name} declares entities")
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError("malformed_xml", f"{name}: not well-formed XML") from error
    uid = root.find(".//IUXRId")
    study_id = _study_id("" if uid is None else uid.get("id", ""))
    sections = dict.fromkeys(_SECTIONS, "")
    for part in root.iter("AbstractText"):
        label = part.get("Label", "").strip().upper()
        if label in sections:
            sections[label] += " ".join(part.itertext())
    names = [image.get("id", "") for image in root.iter("parentImage")]
    return Draft(
        subject_id=study_id,
        study_id=study_id,
        report_path=name,
        report=lay_out(sections),
        images=tuple(Image(dicom_id=name, path=f"{name}.png") for name in sorted(set(names)) if name),
    )


def _read_kaggle(store: Store) -> _Found:
    found = _Found()
    sections = tuple(name.lower() for name in _SECTIONS)
    others = ("MeSH", "Problems", "image")
    reports = read_rows(store.read_bytes(REPORTS), REPORTS, required=("uid", *sections), optional=others)
    views = read_rows(store.read_bytes(PROJECTIONS), PROJECTIONS, required=("uid", "filename", "projection"))
    kept, twice, num_same = settle_duplicates(reports.rows, key="uid", describe=_describe_report)
    projections, twice_images, num_same_images = settle_duplicates(
        views.rows, key="filename", describe=_describe_projection
    )
    images = defaultdict(list)
    for row in projections:
        name = row["filename"].strip()
        view = row["projection"].strip().upper()
        dicom_id = name.removesuffix(".png").removesuffix(".dcm")
        images[row["uid"]].append(Image(dicom_id=dicom_id, path=name, view_position=view))
    for row in kept:
        try:
            study_id = _study_id(row["uid"])
        except DataError as error:
            found.rejects.append(replace(_describe_report(row), reason=error.reason, detail=str(error)))
            continue
        report = lay_out({name: row[name.lower()] for name in _SECTIONS})
        found.drafts.append(
            Draft(
                subject_id=study_id,
                study_id=study_id,
                report_path=REPORTS,
                report=report,
                images=tuple(sorted(images[row["uid"]], key=lambda image: image.path)),
            )
        )
    known = {row["uid"] for row in reports.rows}
    orphans = [row for row in projections if row["uid"] not in known]
    found.rejects += [*reports.rejects, *views.rejects, *twice, *twice_images]
    found.rejects += [replace(_describe_projection(row), reason="unknown_study") for row in orphans]
    found.counts["duplicate_rows"] = num_same + num_same_images
    found.unknown_columns = {REPORTS: reports.unknown_columns, PROJECTIONS: views.unknown_columns}
    return found


def _describe_report(row: Mapping[str, str]) -> Reject:
    return Reject(reason="duplicate_id", study_id=row["uid"][:32], path=REPORTS, detail="rows of one uid differ")


def _describe_projection(row: Mapping[str, str]) -> Reject:
    return Reject(
        reason="duplicate_id",
        study_id=row["uid"][:32],
        dicom_id=row["filename"][:64],
        path=PROJECTIONS,
        detail="no such report, or rows of one file differ",
    )


def _read_r2gen(store: Store) -> _Found:
    found = _Found()
    name = next(name for name in ANNOTATIONS if store.exists(name))
    try:
        lists = json.loads(store.read_bytes(name))
        entries = [(split, entry) for split, entries in lists.items() for entry in entries]
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"{name}: expected lists of studies under train, val and test") from error
    by_id: dict[str, list[Draft]] = defaultdict(list)
    for number, (split, entry) in enumerate(entries):
        try:
            draft = _parse_entry(name, split, entry)
        except DataError as error:
            found.rejects.append(Reject(reason=error.reason, path=name, detail=f"entry {number}: {error}"))
            continue
        by_id[draft.study_id].append(draft)
    for study_id, drafts in by_id.items():
        if any(replace(draft, splits=()) != replace(drafts[0], splits=()) for draft in drafts):
            found.rejects += [Reject(reason="duplicate_id", study_id=study_id, path=name) for _ in drafts]
            continue
        found.drafts.append(replace(drafts[0], splits=tuple(sorted({s for draft in drafts for s in draft.splits}))))
        found.counts["duplicate_rows"] += len(drafts) - 1
    return found


def _parse_entry(name: str, split: str, entry: Any) -> Draft:
    try:
        study_id, text, paths = _study_id(str(entry["id"])), entry["report"], entry["image_path"]
    except (KeyError, TypeError) as error:
        raise DataError("malformed_row", "id, report or image_path is missing") from error
    if not isinstance(text, str) or not isinstance(paths, list) or not all(isinstance(p, str) for p in paths):
        raise DataError("malformed_row", "report must be text and image_path a list of paths")
    return Draft(
        subject_id=study_id,
        study_id=study_id,
        report_path=name,
        report=lay_out({"FINDINGS": text}),
        images=tuple(Image(dicom_id=path.removesuffix(".png").replace("/", "_"), path=path) for path in paths),
        splits=(split,),
    )


def _study_id(name: str) -> str:
    match = _UID.fullmatch(name.strip())
    if match is None:
        raise DataError("bad_id", "a report's id must be a number, maybe after CXR")
    return f"CXR{match[1]}"


def _fixed_split(store: Store, found: _Found) -> dict[str, tuple[str, ...]]:
    if not store.exists(SPLIT):
        return {}
    rows = read_rows(store.read_bytes(SPLIT), SPLIT, required=("id", "split"), optional=("n_images",))
    found.rejects += rows.rejects
    splits: dict[str, set[str]] = defaultdict(set)
    for row in rows.rows:
        try:
            splits[_study_id(row["id"])].add(row["split"])
        except DataError as error:
            found.rejects.append(Reject(reason=error.reason, path=SPLIT, detail=str(error)))
    return {study_id: tuple(sorted(names)) for study_id, names in splits.items()}


def _place_images(store: Store, config: SourceConfig, drafts: list[Draft], found: _Found) -> list[Draft]:
    folder = config.image_folder
    there = None if folder else {path for place in ("images", "NLMCXR_png") for path in store.list(place)}
    placed = []
    for draft in drafts:
        images = []
        for image in draft.images:
            try:
                path = _place(relative_path(image.path), folder, there)
            except DataError as error:
                ids = {"subject_id": draft.subject_id, "study_id": draft.study_id, "dicom_id": image.dicom_id[:64]}
                found.rejects.append(Reject(reason=error.reason, path=image.path[:300], detail=str(error), **ids))
                continue
            if path:
                images.append(replace(image, path=path))
            else:
                found.counts["images_not_found"] += 1
        placed.append(replace(draft, images=tuple(images)))
    return placed


def _place(path: str, folder: str, there: set[str] | None) -> str:
    if there is None:
        return f"{folder.rstrip('/')}/{path}"
    places = (f"{place}/{name}" for place in _IMAGE_FOLDERS for name in _names(path))
    return next((place for place in places if place in there), "")


def _names(path: str) -> tuple[str, str]:
    """`path` and the other name of the same image: Open-i has `CXR1_IM-2.png` where Kaggle has `1_IM-2.dcm.png`."""
    if path.endswith(".dcm.png"):
        return path, f"CXR{path.removesuffix('.dcm.png')}.png"
    return path, f"{path.removeprefix('CXR').removesuffix('.png')}.dcm.png"


_FORMS: Mapping[str, Callable[[Store], _Found]] = {"xml": _read_xml, "kaggle": _read_kaggle, "r2gen": _read_r2gen}
