"""The findings section: what is seen, part by part in the reader's order, and what is not there."""

from collections.abc import Sequence
from random import Random

from trrg_core.labels import Assertion
from trrg_core.sources.sample.ground_truth import Sign, StudyTruth
from trrg_core.sources.sample.readers import Reader, choose, feels_like_denying
from trrg_core.sources.sample.slots import slots_of, slots_of_device
from trrg_core.sources.sample.wording import Line, Phrase, load_phrases, say

PART_OF = {
    "edema": "lungs",
    "atelectasis": "lungs",
    "consolidation": "lungs",
    "pneumonia": "lungs",
    "opacity": "lungs",
    "nodule": "lungs",
    "mass": "lungs",
    "pleural_effusion": "pleura",
    "pneumothorax": "pleura",
    "pleural_thickening": "pleura",
    "cardiomegaly": "heart",
    "enlarged_cardiomediastinum": "heart",
    "fracture": "bones",
}
_AIRSPACE = frozenset({"pneumonia", "consolidation", "opacity"})
# a sign of the left makes it odd to deny those of the right
_NOT_DENIED_WITH = {
    "pneumonia": _AIRSPACE,
    "consolidation": _AIRSPACE,
    "opacity": _AIRSPACE,
    "atelectasis": frozenset({"opacity"}),
    "edema": frozenset({"opacity"}),
    "mass": frozenset({"nodule", "opacity"}),
    "nodule": frozenset({"mass", "opacity"}),
}
_MOST_ABSENCES = {"lungs": 2, "pleura": 2, "heart": 2, "bones": 1}


def write_findings(truth: StudyTruth, rng: Random, reader: Reader) -> list[Line]:
    """The lines of the findings section, in the reader's order."""
    lines: list[Line] = []
    for part in reader.order:
        if part == "devices":
            lines += write_devices(truth, rng, reader)
            continue
        signs = [sign for sign in truth.signs if PART_OF[sign.finding] == part]
        lines += _state_signs(signs, truth, rng, reader)
        lines += _state_resolved(part, truth, lines, rng, reader)
        lines += _state_plain(part, truth, rng, reader)
        lines += _state_absences(part, truth, lines, rng, reader)
    return lines


def write_devices(truth: StudyTruth, rng: Random, reader: Reader) -> list[Line]:
    """One line per device."""
    phrases = load_phrases("devices")
    return [
        say(choose(rng, phrases[device.kind], reader), slots_of_device(device, rng.uniform(2.5, 5.5)))
        for device in truth.devices
    ]


def state_sign(sign: Sign, rng: Random, reader: Reader) -> Line:
    """One line that states `sign`, as doubtful as it is, with its change since the prior if it has one."""
    phrases: dict[str, Sequence[Phrase]] = load_phrases("signs")[sign.finding]
    key = "uncertain" if sign.assertion is Assertion.UNCERTAIN else "present"
    if key == "present" and sign.change in phrases and rng.random() < 0.75:
        key = sign.change
    return say(choose(rng, phrases[key], reader), slots_of(sign))


def _state_signs(signs: list[Sign], truth: StudyTruth, rng: Random, reader: Reader) -> list[Line]:
    lines: list[Line] = []
    waiting = [sign for sign in signs if not _is_told_with_partner(sign, truth)]
    for sign in waiting:
        partner = _partner_of(sign, truth)
        lines.append(_state_pair(sign, partner, rng, reader) if partner else state_sign(sign, rng, reader))
    return lines


def _partner_of(sign: Sign, truth: StudyTruth) -> Sign | None:
    for names in load_phrases("pairs"):
        first, second = names.split()
        other = truth.sign(second)
        if sign.finding == first and other is not None and _fit_one_sentence(sign, other, truth):
            return other
    return None


def _is_told_with_partner(sign: Sign, truth: StudyTruth) -> bool:
    return any(_partner_of(other, truth) is sign for other in truth.signs)


def _fit_one_sentence(first: Sign, second: Sign, truth: StudyTruth) -> bool:
    plain = all(sign.assertion is Assertion.PRESENT and not sign.change for sign in (first, second))
    # every second such study tells them together; the id decides, so that both signs agree on it
    return plain and first.side == second.side and int(truth.study_id) % 2 == 0


def _state_pair(first: Sign, second: Sign, rng: Random, reader: Reader) -> Line:
    phrases = load_phrases("pairs")[f"{first.finding} {second.finding}"]
    other = slots_of(second)
    slots = slots_of(first) | {"at2": other["at"], "grade2": other["grade"]}
    return say(choose(rng, phrases, reader), slots)


def _state_resolved(part: str, truth: StudyTruth, lines: list[Line], rng: Random, reader: Reader) -> list[Line]:
    phrases = load_phrases("signs")
    named = _named(lines)
    return [
        say(choose(rng, phrases[sign.finding]["resolved"], reader), slots_of(sign))
        for sign in truth.resolved
        if PART_OF[sign.finding] == part
        and "resolved" in phrases[sign.finding]
        and sign.assertion is Assertion.PRESENT
        and sign.finding in _deniable(truth) - named
        and rng.random() < 0.7
    ]


def _state_plain(part: str, truth: StudyTruth, rng: Random, reader: Reader) -> list[Line]:
    plain = load_phrases("plain")
    shown = {PART_OF[sign.finding] for sign in truth.signs}
    keys: list[str] = []
    if part == "lungs" and "lungs" not in shown and rng.random() < 0.75:
        keys.append("clear")
    if part == "lungs" and "lungs" not in shown and rng.random() < 0.3:
        keys.append("vessels")
    if part == "heart" and rng.random() < 0.05:
        keys.append("aorta")
    if part == "bones" and "bones" not in shown and rng.random() < 0.6 * reader.negates:
        keys.append("worn" if rng.random() < 0.1 else "bones")
    if part == "bones" and rng.random() < 0.2 * reader.negates:
        keys.append("abdomen")
    return [say(choose(rng, plain[key], reader), {}) for key in keys]


def _state_absences(part: str, truth: StudyTruth, before: list[Line], rng: Random, reader: Reader) -> list[Line]:
    lines: list[Line] = []
    shown = {sign.finding for sign in truth.signs}
    odds = reader.negates * (0.35 if part == "bones" else 0.9 if part == "lungs" else 1.0)
    for _ in range(_MOST_ABSENCES[part]):
        free = _deniable(truth) - _named([*before, *lines])
        fitting = [
            phrase
            for phrase in load_phrases("absences")[part]
            if phrase.findings <= free and not phrase.unless & shown and feels_like_denying(rng, phrase)
        ]
        if not fitting or rng.random() > odds:
            break
        lines.append(say(choose(rng, fitting, reader), {}))
        odds *= 0.88
    return lines


def _deniable(truth: StudyTruth) -> frozenset[str]:
    shown = {sign.finding for sign in truth.signs}
    odd = {name for finding in shown for name in _NOT_DENIED_WITH.get(finding, ())}
    return frozenset(PART_OF) - shown - odd


def _named(lines: Sequence[Line]) -> set[str]:
    return {fact.finding for line in lines for fact in line.facts}
