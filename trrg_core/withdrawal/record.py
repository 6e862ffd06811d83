"""The record of withdrawals: keyed hashes of patients and studies, never their ids.

The key comes from the environment and is not in the store: without it, the few digits of an id could be found from
its hash by trying all.
"""

import hashlib
import hmac
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from trrg_core.errors import ConfigError
from trrg_core.storage.folders import WITHDRAWAL_RECORD
from trrg_core.storage.store import Store
from trrg_core.storage.stored_record import read_record
from trrg_core.storage.withdrawal_lock import REASON
from trrg_core.study import Listing, Reject, Study

KEY_VARIABLE = "TRRG_WITHDRAWAL_KEY"
_MIN_KEY_CHARACTERS = 16
# what may be an id in a path: words, and names of folders and of files without their ending
_WORDS = tuple(map(re.compile, (r"[0-9A-Za-z]+", r"[0-9A-Za-z-]+", r"[\w.-]+", r"[^/]+", r"[^/]+(?=\.)")))


@dataclass(frozen=True, kw_only=True)
class Withdrawal:
    """One patient's withdrawal, as recorded.

    Attributes:
        patient: keyed hash of the patient; empty where only some studies were withdrawn.
        studies: keyed hashes of the studies that were withdrawn alone.
        day: when, YYYY-MM-DD (UTC).
        rows: rows erased, by table.
        learned: runs that learned from the patient, and how: `trained` or `calibrated`.
        models: registered models that such a run made.
        is_finished: False while, or after, a withdrawal was interrupted; run it again.
    """

    patient: str = ""
    studies: tuple[str, ...] = ()
    day: str = ""
    rows: Mapping[str, int] = field(default_factory=dict)
    learned: Mapping[str, str] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    is_finished: bool = False

    @property
    def identity(self) -> tuple[str, tuple[str, ...]]:
        """What two records of the same withdrawal share."""
        return self.patient, self.studies


@dataclass(frozen=True, kw_only=True)
class _RecordFile:
    """The form of the record's file."""

    key_check: str
    entries: list[Withdrawal]


@dataclass(frozen=True, kw_only=True)
class WithdrawalKey:
    """The secret of the hashes."""

    secret: bytes = field(repr=False)

    def hash_patient(self, subject_id: str) -> str:
        """The keyed hash of a patient, 64 hex digits."""
        return self._hash("patient", subject_id)

    def hash_study(self, study_id: str) -> str:
        """The keyed hash of a study, 64 hex digits."""
        return self._hash("study", study_id)

    @property
    def check(self) -> str:
        """What tells a wrong key from the right one."""
        return self._hash("check", "")

    def _hash(self, kind: str, text: str) -> str:
        return hmac.digest(self.secret, f"{kind}\0{text}".encode(), hashlib.sha256).hex()


def read_key() -> WithdrawalKey:
    """The key from the environment.

    Raises:
        ConfigError: if it is missing or short.
    """
    text = os.environ.get(KEY_VARIABLE, "")
    if len(text) < _MIN_KEY_CHARACTERS:
        raise ConfigError(
            f"set {KEY_VARIABLE} in the environment to a secret of at least {_MIN_KEY_CHARACTERS} characters, kept "
            "apart from the store: the record of withdrawals holds hashes made with it, and every ingest needs it"
        )
    return WithdrawalKey(secret=text.encode())


def read_withdrawals(store: Store) -> tuple[Withdrawal, ...]:
    """The withdrawals that a store records; none without a record."""
    values = _read(store)
    return tuple(_from_json(entry) for entry in values["entries"]) if values else ()


def check_key(store: Store, key: WithdrawalKey) -> None:
    """Check that `key` is the one that the record was made with.

    Raises:
        ConfigError: if it is another.
    """
    values = _read(store)
    if values and not hmac.compare_digest(values["key_check"], key.check):
        raise ConfigError(f"{KEY_VARIABLE} is not the key that the withdrawals of {store.uri} were recorded with")


def write_withdrawals(store: Store, key: WithdrawalKey, withdrawals: Iterable[Withdrawal]) -> None:
    """Record `withdrawals` in place of the earlier record with the same identity, after all others."""
    new = {one.identity: one for one in withdrawals}
    kept = [one for one in read_withdrawals(store) if one.identity not in new]
    entries = [asdict(one) for one in (*kept, *new.values())]
    text = json.dumps({"key_check": key.check, "entries": entries}, indent=1)
    store.write_bytes(WITHDRAWAL_RECORD, text.encode())


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Tells who is refused by an ingest."""

    key: WithdrawalKey
    patients: frozenset[str]
    studies: frozenset[str]

    def refuses(self, subject_id: str, study_id: str) -> bool:
        """Whether the patient or the study has been withdrawn."""
        return self.key.hash_patient(subject_id) in self.patients or self.key.hash_study(study_id) in self.studies

    def concerns(self, reject: Reject) -> bool:
        """Whether a rejected row names a withdrawn patient or study, be it in its path."""
        # in MIMIC-CXR's paths a patient is p10000032 and a study s50414267
        texts = (reject.path, reject.detail)
        words = [word for text in texts for pattern in _WORDS for word in pattern.findall(text)]
        words += [word[1:] for word in words if word[:1] in "ps"]
        return self.refuses(reject.subject_id, reject.study_id) or any(self.refuses(word, word) for word in words)


def read_refusal(store: Store) -> Refusal | None:
    """Who is refused by an ingest into `store`; None where nobody has withdrawn.

    Raises:
        ConfigError: if there are withdrawals and the key is missing or wrong.
    """
    withdrawals = read_withdrawals(store)
    if not withdrawals:
        return None
    key = read_key()
    check_key(store, key)
    return Refusal(
        key=key,
        patients=frozenset(one.patient for one in withdrawals if one.patient),
        studies=frozenset(study for one in withdrawals for study in one.studies),
    )


def without_withdrawn(listing: Listing, refusal: Refusal) -> Listing:
    """`listing` without the studies of withdrawn patients; each is one reject that names nobody.

    A study whose prior has been withdrawn has none.
    """
    kept: list[Study] = []
    rejects: list[Reject] = []
    for study in listing.studies:
        if refusal.refuses(study.subject_id, study.study_id):
            rejects.append(Reject(reason=REASON))
        elif study.prior_study_id and refusal.refuses(study.subject_id, study.prior_study_id):
            kept.append(replace(study, prior_study_id=""))
        else:
            kept.append(study)
    rejects += [Reject(reason=REASON) if refusal.concerns(reject) else reject for reject in listing.rejects]
    return replace(listing, studies=tuple(kept), rejects=tuple(rejects))


def _read(store: Store) -> dict[str, Any]:
    if not store.exists(WITHDRAWAL_RECORD):
        return {}
    values: dict[str, Any] = read_record(store, WITHDRAWAL_RECORD, _RecordFile)
    return values


def _from_json(entry: Mapping[str, Any]) -> Withdrawal:
    return Withdrawal(**{**entry, "studies": tuple(entry["studies"]), "models": tuple(entry["models"])})
