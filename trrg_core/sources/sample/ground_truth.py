"""The ground truth of each invented patient: demographics, studies, and the findings of every radiograph.

(seed, patient number) -> Patient. Images and reports are both generated from these values, so they agree. A patient
depends on the seed and on its number only.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from importlib import resources
from random import Random
from typing import Any, Literal

import yaml

from trrg_core.labels import Assertion
from trrg_core.study import Split

Side = Literal["left", "right", "both", ""]
Zone = Literal["upper", "middle", "lower", ""]
Change = Literal["", "new", "worse", "better", "same"]
SINGLE_SIDES: tuple[Side, ...] = ("left", "right")

# probability of left, right and both sides; a finding without an entry has no side
_SIDE_ODDS: dict[str, tuple[float, float, float]] = {
    "pleural_effusion": (0.35, 0.35, 0.3),
    "pneumothorax": (0.5, 0.5, 0.0),
    "atelectasis": (0.35, 0.25, 0.4),
    "consolidation": (0.45, 0.55, 0.0),
    "pneumonia": (0.42, 0.48, 0.1),
    "opacity": (0.45, 0.45, 0.1),
    "nodule": (0.5, 0.5, 0.0),
    "mass": (0.5, 0.5, 0.0),
    "fracture": (0.5, 0.5, 0.0),
    "pleural_thickening": (0.35, 0.35, 0.3),
}
_ZONE_ODDS: dict[str, tuple[float, float, float]] = {
    "atelectasis": (0.0, 0.1, 0.9),
    "consolidation": (0.3, 0.2, 0.5),
    "pneumonia": (0.2, 0.25, 0.55),
    "opacity": (0.25, 0.35, 0.4),
    "nodule": (0.5, 0.4, 0.1),
    "mass": (0.55, 0.4, 0.05),
    "fracture": (0.0, 0.5, 0.5),
}
_UNCERTAIN_ODDS = {
    "pneumonia": 0.3,
    "atelectasis": 0.1,
    "consolidation": 0.1,
    "pleural_effusion": 0.1,
    "edema": 0.1,
    "pneumothorax": 0.06,
    "nodule": 0.12,
    "opacity": 0.05,
    "cardiomegaly": 0.03,
    "fracture": 0.06,
    "enlarged_cardiomediastinum": 0.08,
    "pleural_thickening": 0.06,
}
_CHRONIC = {"cardiomegaly", "pleural_thickening", "nodule", "mass", "fracture", "enlarged_cardiomediastinum"}
_PERMANENT_DEVICES = {"pacemaker", "sternal_wires", "port"}


@dataclass(frozen=True, kw_only=True)
class Sign:
    """A finding on a radiograph. `extent` is 0 (barely visible) to 1 (most severe)."""

    finding: str
    side: Side = ""
    zone: Zone = ""
    extent: float
    assertion: Assertion = Assertion.PRESENT
    change: Change = ""


@dataclass(frozen=True, kw_only=True)
class Device:
    """A tube, line or implant on a radiograph."""

    kind: str
    side: Side = ""


@dataclass(frozen=True, kw_only=True)
class StudyTruth:
    """One study: time, views, findings and devices. `resolved` are the signs of the prior that are now absent."""

    subject_id: str
    study_id: str
    split: Split
    index: int
    date: str
    time: str
    views: tuple[str, ...]
    case: str
    signs: tuple[Sign, ...] = ()
    devices: tuple[Device, ...] = ()
    resolved: tuple[Sign, ...] = ()

    @property
    def has_prior(self) -> bool:
        """Whether the patient has an earlier study in the corpus."""
        return self.index > 0

    def sign(self, finding: str) -> Sign | None:
        """The sign of `finding`, None if the study has none."""
        return next((sign for sign in self.signs if sign.finding == finding), None)


@dataclass(frozen=True, kw_only=True)
class Patient:
    """One invented patient. `habitus` is -1 (slight) to 1 (heavy)."""

    subject_id: str
    number: int
    split: Split
    sex: Literal["F", "M"]
    age: int
    habitus: float
    studies: tuple[StudyTruth, ...]


def generate_patient(seed: int, number: int) -> Patient:
    """Patient `number` of the corpus of `seed`, with one to four studies in chronological order."""
    rng = Random(f"sample/{seed}/patient/{number}")
    subject_id = str(10_000_000 + _unordered_number(seed, number, 10_000_000))
    split = _split_of(seed, number)
    moment = datetime(2110, 1, 1) + timedelta(minutes=rng.randrange(60 * 24 * 365 * 80))
    studies: list[StudyTruth] = []
    for index in range(rng.choices((1, 2, 3, 4), (0.56, 0.24, 0.12, 0.08))[0]):
        study_id = str(50_000_000 + _unordered_number(seed, number * 4 + index, 10_000_000))
        content = _follow_up(rng, studies[-1]) if studies and rng.random() < 0.7 else _first_study(rng)
        studies.append(
            replace(
                content,
                subject_id=subject_id,
                study_id=study_id,
                split=split,
                index=index,
                date=moment.strftime("%Y%m%d"),
                time=moment.strftime("%H%M%S") + f".{rng.randrange(1000):03d}",
                views=_choose_views(rng, content),
            )
        )
        moment += timedelta(minutes=rng.choice((60 * 9, 60 * 24, 60 * 24 * 6, 60 * 24 * 90)) + rng.randrange(600))
    return Patient(
        subject_id=subject_id,
        number=number,
        split=split,
        sex=rng.choice(("F", "M")),
        age=min(94, max(19, round(rng.gauss(61, 17)))),
        habitus=max(-1.0, min(1.0, rng.gauss(0.1, 0.45))),
        studies=tuple(studies),
    )


def _unordered_number(seed: int, number: int, size: int) -> int:
    # multiples of a step coprime to the modulus are distinct: ids are unique and look unordered
    rng = Random(f"sample/{seed}/ids/{size}")
    step = rng.randrange(size // 5, size // 2) * 10 + rng.choice((1, 3, 7, 9))
    return (number * step + rng.randrange(size)) % size


def _split_of(seed: int, number: int) -> Split:
    # of every ten patients one is in validate and one in test, so that even a small corpus has both
    positions = Random(f"sample/{seed}/split/{number // 10}").sample(range(10), 2)
    return "validate" if number % 10 == positions[0] else "test" if number % 10 == positions[1] else "train"


@cache
def load_cases() -> tuple[dict[str, Any], ...]:
    """The clinical cases of `cases.yaml`."""
    text = resources.files("trrg_core.sources.sample").joinpath("cases.yaml").read_text("utf-8")
    return tuple(yaml.safe_load(text))


def _first_study(rng: Random) -> StudyTruth:
    cases = load_cases()
    case = rng.choices(cases, [item["weight"] for item in cases])[0]
    typical = case.get("signs", {})
    names = [name for name, odds in typical.items() if rng.random() < odds] or list(typical)[:1]
    signs = _reconcile([_sample_sign(rng, name) for name in names])
    devices = [kind for kind, odds in case.get("devices", {}).items() if rng.random() < odds]
    return StudyTruth(
        subject_id="",
        study_id="",
        split="train",
        index=0,
        date="",
        time="",
        views=(),
        case=case["name"],
        signs=signs,
        devices=tuple(_place_device(rng, kind, signs) for kind in devices),
    )


def _sample_sign(rng: Random, finding: str) -> Sign:
    sides: tuple[Side, ...] = ("left", "right", "both")
    zones: tuple[Zone, ...] = ("upper", "middle", "lower")
    side = rng.choices(sides, _SIDE_ODDS[finding])[0] if finding in _SIDE_ODDS else ""
    zone = rng.choices(zones, _ZONE_ODDS[finding])[0] if finding in _ZONE_ODDS else ""
    if rng.random() < _UNCERTAIN_ODDS.get(finding, 0.0):
        single: Side = rng.choice(SINGLE_SIDES) if side == "both" else side
        return Sign(
            finding=finding, side=single, zone=zone, extent=rng.uniform(0.05, 0.2), assertion=Assertion.UNCERTAIN
        )
    return Sign(finding=finding, side=side, zone=zone, extent=rng.triangular(0.12, 1.0, 0.45))


def _reconcile(signs: list[Sign]) -> tuple[Sign, ...]:
    """`signs` made consistent, such as pneumonia at the place of the consolidation."""
    by_finding = {sign.finding: sign for sign in signs}
    if "pneumonia" in by_finding and "consolidation" in by_finding:
        place = by_finding["consolidation"]
        by_finding["pneumonia"] = replace(by_finding["pneumonia"], side=place.side, zone=place.zone)
    if "fracture" in by_finding and "pneumothorax" in by_finding:
        by_finding["pneumothorax"] = replace(by_finding["pneumothorax"], side=by_finding["fracture"].side)
    if "nodule" in by_finding and "mass" in by_finding:
        del by_finding["nodule"]
    return tuple(by_finding.values())


def _place_device(rng: Random, kind: str, signs: tuple[Sign, ...]) -> Device:
    if kind in ("endotracheal_tube", "enteric_tube", "sternal_wires"):
        return Device(kind=kind)
    if kind == "chest_tube":
        sides = [s.side for s in signs if s.finding in ("pneumothorax", "pleural_effusion") and s.side != "both"]
        return Device(kind=kind, side=sides[0] if sides else rng.choice(SINGLE_SIDES))
    odds_left = {"pacemaker": 0.85, "central_line": 0.2, "picc": 0.4, "port": 0.25}[kind]
    return Device(kind=kind, side="left" if rng.random() < odds_left else "right")


def _follow_up(rng: Random, before: StudyTruth) -> StudyTruth:
    """A later study of the same patient: signs get worse, better, stay or resolve; sometimes a new one appears."""
    kept: list[Sign] = []
    resolved: list[Sign] = []
    for sign in before.signs:
        later = _progress_sign(rng, sign)
        (resolved if later is None else kept).append(sign if later is None else later)
    new_finding = rng.choice(("pleural_effusion", "atelectasis", "opacity", "pneumonia", "edema"))
    if rng.random() < 0.14 and before.sign(new_finding) is None:
        kept.append(replace(_sample_sign(rng, new_finding), change="new"))
    devices = [d for d in before.devices if d.kind in _PERMANENT_DEVICES or rng.random() < 0.7]
    return replace(before, signs=tuple(kept), devices=tuple(devices), resolved=tuple(resolved))


def _progress_sign(rng: Random, sign: Sign) -> Sign | None:
    if sign.assertion is Assertion.UNCERTAIN:
        return None if rng.random() < 0.6 else replace(sign, change="")
    if sign.finding in _CHRONIC:
        return replace(sign, change="same")
    course = rng.choices(("resolved", "better", "worse", "same"), (0.18, 0.27, 0.23, 0.32))[0]
    if course == "resolved":
        return None
    if course == "better":
        return replace(sign, change="better", extent=max(0.12, sign.extent - rng.uniform(0.15, 0.35)))
    if course == "worse":
        return replace(sign, change="worse", extent=min(1.0, sign.extent + rng.uniform(0.15, 0.35)))
    return replace(sign, change="same")


def _choose_views(rng: Random, study: StudyTruth) -> tuple[str, ...]:
    bedside = any(d.kind in ("endotracheal_tube", "enteric_tube", "chest_tube", "central_line") for d in study.devices)
    frontal = "AP" if bedside or rng.random() < 0.25 else "PA"
    with_lateral = rng.random() < (0.04 if bedside else 0.62 if frontal == "PA" else 0.25)
    return (frontal, "LATERAL") if with_lateral else (frontal,)
