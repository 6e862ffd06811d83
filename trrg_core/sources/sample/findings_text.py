"""The findings section: present and absent findings, part by part of the chest in the order of the reader."""

from collections.abc import Mapping, Sequence
from random import Random

from trrg_core.labels import Assertion
from trrg_core.sources.sample.ground_truth import Sign, StudyTruth
from trrg_core.sources.sample.readers import Reader, choose_phrase, draw_negation
from trrg_core.sources.sample.slots import slots_of, slots_of_device
from trrg_core.sources.sample.wording import Phrase, Sentence, fill_phrase, load_phrases

PART_OF: Mapping[str, str] = {
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
# when the key is present, a report does not negate these
_NOT_DENIED_WITH = {
    "pneumonia": _AIRSPACE,
    "consolidation": _AIRSPACE,
    "opacity": _AIRSPACE,
    "atelectasis": frozenset({"opacity"}),
    "edema": frozenset({"opacity"}),
    "mass": frozenset({"nodule", "opacity"}),
    "nodule": frozenset({"mass", "opacity"}),
}
_MAX_ABSENCES = {"lungs": 2, "pleura": 2, "heart": 2, "bones": 1}


def write_findings(truth: StudyTruth, rng: Random, reader: Reader) -> list[Sentence]:
    """The sentences of the findings section, in the order of the reader."""
    sentences: list[Sentence] = []
    for part in reader.order:
        if part == "devices":
            sentences += write_devices(truth, rng, reader)
            continue
        signs = [sign for sign in truth.signs if PART_OF[sign.finding] == part]
        sentences += _state_signs(signs, truth, rng, reader)
        sentences += _state_resolved(part, truth, sentences, rng, reader)
        sentences += _state_normal_parts(part, truth, rng, reader)
        sentences += _state_absences(part, truth, sentences, rng, reader)
    return sentences


def write_devices(truth: StudyTruth, rng: Random, reader: Reader) -> list[Sentence]:
    """One sentence per device."""
    phrases = load_phrases("devices")
    return [
        fill_phrase(choose_phrase(rng, phrases[device.kind], reader), slots_of_device(device, rng.uniform(2.5, 5.5)))
        for device in truth.devices
    ]


def state_sign(sign: Sign, rng: Random, reader: Reader) -> Sentence:
    """One sentence that states `sign` with its certainty and, if any, its change since the prior."""
    phrases: dict[str, Sequence[Phrase]] = load_phrases("signs")[sign.finding]
    key = "uncertain" if sign.assertion is Assertion.UNCERTAIN else "present"
    if key == "present" and sign.change in phrases and rng.random() < 0.75:
        key = sign.change
    return fill_phrase(choose_phrase(rng, phrases[key], reader), slots_of(sign))


def _state_signs(signs: list[Sign], truth: StudyTruth, rng: Random, reader: Reader) -> list[Sentence]:
    sentences: list[Sentence] = []
    unpaired = [sign for sign in signs if not _is_stated_in_pair(sign, truth)]
    for sign in unpaired:
        partner = _partner_of(sign, truth)
        sentences.append(_state_pair(sign, partner, rng, reader) if partner else state_sign(sign, rng, reader))
    return sentences


def _partner_of(sign: Sign, truth: StudyTruth) -> Sign | None:
    for names in load_phrases("pairs"):
        first, second = names.split()
        other = truth.sign(second)
        if sign.finding == first and other is not None and _can_share_sentence(sign, other, truth):
            return other
    return None


def _is_stated_in_pair(sign: Sign, truth: StudyTruth) -> bool:
    return any(_partner_of(other, truth) is sign for other in truth.signs)


def _can_share_sentence(first: Sign, second: Sign, truth: StudyTruth) -> bool:
    is_plain = all(sign.assertion is Assertion.PRESENT and not sign.change for sign in (first, second))
    # every second such study states them in one sentence; the id decides, so that both signs give the same answer
    return is_plain and first.side == second.side and int(truth.study_id) % 2 == 0


def _state_pair(first: Sign, second: Sign, rng: Random, reader: Reader) -> Sentence:
    phrases = load_phrases("pairs")[f"{first.finding} {second.finding}"]
    other = slots_of(second)
    slots = slots_of(first) | {"at2": other["at"], "grade2": other["grade"]}
    return fill_phrase(choose_phrase(rng, phrases, reader), slots)


def _state_resolved(
    part: str, truth: StudyTruth, before: list[Sentence], rng: Random, reader: Reader
) -> list[Sentence]:
    phrases = load_phrases("signs")
    stated = _findings_of(before)
    return [
        fill_phrase(choose_phrase(rng, phrases[sign.finding]["resolved"], reader), slots_of(sign))
        for sign in truth.resolved
        if PART_OF[sign.finding] == part
        and "resolved" in phrases[sign.finding]
        and sign.assertion is Assertion.PRESENT
        and sign.finding in _negatable(truth) - stated
        and rng.random() < 0.7
    ]


def _state_normal_parts(part: str, truth: StudyTruth, rng: Random, reader: Reader) -> list[Sentence]:
    plain = load_phrases("plain")
    shown = {PART_OF[sign.finding] for sign in truth.signs}
    keys: list[str] = []
    if part == "lungs" and "lungs" not in shown and rng.random() < 0.75:
        keys.append("clear")
    if part == "lungs" and "lungs" not in shown and rng.random() < 0.3:
        keys.append("vessels")
    if part == "heart" and rng.random() < 0.05:
        keys.append("aorta")
    if part == "bones" and "bones" not in shown and rng.random() < 0.6 * reader.negation_rate:
        keys.append("worn" if rng.random() < 0.1 else "bones")
    if part == "bones" and rng.random() < 0.2 * reader.negation_rate:
        keys.append("abdomen")
    return [fill_phrase(choose_phrase(rng, plain[key], reader), {}) for key in keys]


def _state_absences(
    part: str, truth: StudyTruth, before: list[Sentence], rng: Random, reader: Reader
) -> list[Sentence]:
    sentences: list[Sentence] = []
    shown = {sign.finding for sign in truth.signs}
    odds = reader.negation_rate * (0.35 if part == "bones" else 0.9 if part == "lungs" else 1.0)
    for _ in range(_MAX_ABSENCES[part]):
        free = _negatable(truth) - _findings_of([*before, *sentences])
        fitting = [
            phrase
            for phrase in load_phrases("absences")[part]
            if phrase.findings <= free and not phrase.unless & shown and draw_negation(rng, phrase)
        ]
        if not fitting or rng.random() > odds:
            break
        sentences.append(fill_phrase(choose_phrase(rng, fitting, reader), {}))
        odds *= 0.88
    return sentences


def _negatable(truth: StudyTruth) -> frozenset[str]:
    shown = {sign.finding for sign in truth.signs}
    implausible = {name for finding in shown for name in _NOT_DENIED_WITH.get(finding, ())}
    return frozenset(PART_OF) - shown - implausible


def _findings_of(sentences: Sequence[Sentence]) -> set[str]:
    return {fact.finding for sentence in sentences for fact in sentence.facts}
