"""Drafts of any source -> a `Listing`: one split per patient, priors by time, the same rules for all sources."""

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from trrg_core.config.settings import SourceConfig
from trrg_core.errors import ConfigError
from trrg_core.storage.store import is_utf8
from trrg_core.study import SPLITS, Image, Listing, Reject, Sex, Split, Study, view_code

_MAX_IMAGES = 1000
_SALT = "trrg-split-1"
_SPELLINGS: Mapping[str, Split] = {"val": "validate", "valid": "validate", "validation": "validate", "dev": "validate"}


@dataclass(frozen=True, kw_only=True)
class StudyDraft:
    """A study before its split is known; `splits` are the splits that rows of the source name, as spelt there.

    `prior_study_id` is the study before as the source names it, empty for none; None to find it by date and time.
    """

    subject_id: str
    study_id: str
    report_path: str = ""
    report: str | None = None
    images: tuple[Image, ...] = ()
    splits: tuple[str, ...] = ()
    study_date: str = ""
    study_time: str = ""
    prior_study_id: str | None = None
    sex: Sex = ""
    age_years: int | None = None


def build_listing(
    drafts: Iterable[StudyDraft],
    config: SourceConfig,
    *,
    rejects: Iterable[Reject] = (),
    counts: Mapping[str, int] | None = None,
    unknown_columns: Mapping[str, tuple[str, ...]] | None = None,
    patient_splits: Mapping[str, Iterable[str]] | None = None,
) -> Listing:
    """The studies of `drafts` ordered by patient and id, each in the one split of its patient.

    Args:
        drafts: one per study, ids unique.
        config: shares of the hashed split, the rule for patients without a split, the number of studies to keep.
        rejects: rows already set aside; part of the listing.
        counts: events already counted; part of the listing.
        unknown_columns: columns that are not read, by index file.
        patient_splits: further splits that rows name for a patient, besides those of its drafts.
    """
    ordered = sorted(drafts, key=lambda draft: (draft.subject_id, draft.study_id))
    named = _named_splits(ordered, patient_splits or {})
    by_id = {draft.study_id: draft for draft in ordered}
    studies, unusable, num_hashed = [], [], 0
    for draft in ordered:
        split, problem = _choose_split(draft, named[draft.subject_id], config)
        problem = _unstorable(draft) or _wrong_prior(draft, by_id) or problem
        num_hashed += not problem and not named[draft.subject_id]
        if problem:
            unusable.append(_reject(draft, *problem))
        else:
            studies.append(_study(draft, split))
    studies = _with_priors(studies, {draft.study_id: draft.prior_study_id for draft in ordered})
    studies, num_unlisted = _with_view_codes(studies)
    kept = studies[: config.max_studies] if config.max_studies else studies
    totals = Counter(counts or {}) + Counter(
        split_by_hash=num_hashed, beyond_max_studies=len(studies) - len(kept), unlisted_views=num_unlisted
    )
    return Listing(
        studies=tuple(kept),
        rejects=(*rejects, *unusable),
        counts=dict(sorted(totals.items())),
        unknown_columns={name: columns for name, columns in (unknown_columns or {}).items() if columns},
    )


def assign_split(subject_id: str, *, validate_share: float, test_share: float) -> Split:
    """The split of a patient whom the source assigns to none: a function of the id alone."""
    digest = hashlib.sha256(f"{_SALT}:{subject_id}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < test_share:
        return "test"
    return "validate" if place < test_share + validate_share else "train"


def find_priors(studies: Sequence[Study]) -> dict[str, str]:
    """For each study_id the id of the patient's latest study strictly before it, by date and time.

    Studies of the same date and time are not prior to each other; nor are studies of one day when either has no time.
    Ids do not order studies: they only select one of several studies of the same earlier date and time.
    """
    dated = sorted((s for s in studies if s.study_date), key=lambda s: (s.subject_id, *_moment(s), s.study_id))
    priors: dict[str, str] = {}
    for _, of_patient in groupby(dated, key=lambda study: study.subject_id):
        day_before = ""
        for _, of_day in groupby(of_patient, key=lambda study: study.study_date):
            latest = newest = day_before
            for (_, time), of_moment in groupby(of_day, key=_moment):
                together = [study.study_id for study in of_moment]
                priors.update((study_id, latest) for study_id in together if latest)
                newest = together[0]
                latest = newest if time else latest
            day_before = newest
    return priors


def read_id(text: str) -> str:
    """An id as it is stored: as two patients, composed and decomposed accents of one name could be in two splits."""
    return unicodedata.normalize("NFC", text.strip())


def is_usable_id(value: str) -> bool:
    """Whether `value` can name a patient, a study or an image: short, printable, no space at its ends."""
    return 0 < len(value) <= 128 and value == value.strip() and value.isprintable()


def _moment(study: Study | StudyDraft) -> tuple[str, str]:
    return study.study_date, study.study_time


def _with_priors(studies: Sequence[Study], named: Mapping[str, str | None]) -> list[Study]:
    priors = find_priors(studies) | {study_id: prior for study_id, prior in named.items() if prior is not None}
    return [replace(study, prior_study_id=priors.get(study.study_id, "")) for study in studies]


def _wrong_prior(draft: StudyDraft, by_id: Mapping[str, StudyDraft]) -> tuple[str, str] | None:
    """A report that is given as the earlier one must not be the study's own, a later or another patient's one.

    One that is not listed is kept: it may have been set aside. So is one of the same day where either time is unknown.
    """
    prior = by_id.get(draft.prior_study_id or "")
    if prior is None:
        return None
    if prior is draft:
        return "wrong_prior", "the study is named as its own prior"
    if prior.subject_id != draft.subject_id:
        return "wrong_prior", "the study that is named as prior is of another patient"
    if _is_later(prior, draft):
        own, other = (" ".join(_moment(study)).strip() for study in (draft, prior))
        return "wrong_prior", f"the study that is named as prior is of {other}, after {own}"
    return None


def _is_later(one: StudyDraft, other: StudyDraft) -> bool:
    """Whether `one` is known to be later: an unknown date, or an unknown time on the same day, tells nothing."""
    if one.study_date != other.study_date:
        return bool(one.study_date and other.study_date) and one.study_date > other.study_date
    return bool(one.study_date and one.study_time and other.study_time) and one.study_time > other.study_time


def _with_view_codes(studies: Sequence[Study]) -> tuple[list[Study], int]:
    """`studies` with view positions that are known codes, and the number of images whose text was another."""
    coded, num_unlisted = [], 0
    for study in studies:
        images = tuple(replace(image, view_position=view_code(image.view_position)) for image in study.images)
        pairs = zip(images, study.images, strict=True)
        num_unlisted += sum(new.view_position == "OTHER" != old.view_position.strip().upper() for new, old in pairs)
        coded.append(replace(study, images=images))
    return coded, num_unlisted


def _unstorable(draft: StudyDraft) -> tuple[str, str] | None:
    """Text of JSON may hold lone surrogates, and names of files any bytes; no table can hold either.

    The images of a study are read together: of a thousand, one row would take gigabytes.
    """
    if not is_utf8(draft.report or ""):
        return "report_not_utf8", "the report holds half of a surrogate pair"
    if len(draft.images) > _MAX_IMAGES:
        return "too_many_images", f"{len(draft.images)} images of one study, at most {_MAX_IMAGES} are read"
    paths = [draft.report_path, *(text for image in draft.images for text in (image.path, image.dicom_id))]
    if not all(map(is_utf8, paths)):
        return "path_not_utf8", "a path is not UTF-8; rename the file"
    return None


def _named_splits(drafts: Sequence[StudyDraft], more: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    named: dict[str, set[str]] = defaultdict(set)
    for draft in drafts:
        named[draft.subject_id] |= {_normalise(split) for split in draft.splits}
    for subject_id, splits in more.items():
        named[subject_id] |= {_normalise(split) for split in splits}
    return named


def _normalise(split: str) -> str:
    name = split.strip().lower()
    return _SPELLINGS.get(name, name)


def _choose_split(draft: StudyDraft, named: set[str], config: SourceConfig) -> tuple[Split, tuple[str, str] | None]:
    own = {_normalise(split) for split in draft.splits}
    unknown = sorted(own - set(SPLITS))
    known = named & set(SPLITS)
    if unknown:
        # one word at most: the column may hold anything, a report among it
        name = repr(unknown[0]) if re.fullmatch(r"\w{1,20}", unknown[0]) else f"of {len(unknown[0])} characters"
        return "train", ("unknown_split", f"split {name}, expected one of {', '.join(SPLITS)}")
    if len(own) > 1:
        return "train", ("study_in_two_splits", f"rows name {sorted(own)}")
    if len(known) > 1:
        return "train", ("patient_in_two_splits", f"the patient's rows name {sorted(known)}")
    for split in SPLITS:
        if split in known:
            return split, None
    if named:
        return "train", ("unknown_split", "the patient's only split rows name no known split")
    if config.on_missing_split == "reject":
        return "train", ("missing_split", "no row names the patient's split")
    shares = {"validate_share": config.validate_share, "test_share": config.test_share}
    if sum(shares.values()) >= 1:
        raise ConfigError(f"source.validate_share + source.test_share leave nothing to train on: {shares}")
    return assign_split(draft.subject_id, **shares), None


def _study(draft: StudyDraft, split: Split) -> Study:
    return Study(
        subject_id=draft.subject_id,
        study_id=draft.study_id,
        split=split,
        report_path=draft.report_path,
        images=draft.images,
        study_date=draft.study_date,
        study_time=draft.study_time,
        sex=draft.sex,
        age_years=draft.age_years,
        report=draft.report,
    )


def _reject(draft: StudyDraft, reason: str, detail: str) -> Reject:
    return Reject(
        reason=reason,
        subject_id=draft.subject_id,
        study_id=draft.study_id,
        path=draft.report_path,
        detail=detail,
    )
