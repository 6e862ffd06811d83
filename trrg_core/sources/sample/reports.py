"""A whole invented report: banner, odd headers, sections wrapped as MIMIC-CXR prints them, and the facts in it.

StudyTruth -> Report. The labels are what the words of findings and impression name, by CheXpert's rules; an
indication that asks for pneumonia states nothing, and a worn spine is not "No Finding".
"""

import textwrap
from dataclasses import dataclass
from random import Random

from trrg_core.labels import Assertion, Labels, label_report, load_label_set
from trrg_core.sources.sample.findings_text import state_sign, write_devices, write_findings
from trrg_core.sources.sample.ground_truth import Patient, Sign, StudyTruth
from trrg_core.sources.sample.readers import READERS, Reader, choose
from trrg_core.sources.sample.slots import slots_of
from trrg_core.sources.sample.wording import Line, load_phrases, names_of, say

_WIDTH = 78  # and the space every line starts with
_BANNER = " " * 33 + "FINAL REPORT"
_URGENCY = (
    "pneumothorax",
    "pneumonia",
    "consolidation",
    "edema",
    "pleural_effusion",
    "mass",
    "nodule",
    "enlarged_cardiomediastinum",
    "fracture",
    "opacity",
    "atelectasis",
    "cardiomegaly",
    "pleural_thickening",
)
_BEDSIDE = frozenset({"endotracheal_tube", "enteric_tube", "central_line", "picc", "chest_tube"})


@dataclass(frozen=True, kw_only=True)
class StatedLine:
    """A sentence of the report with the section it stands in."""

    section: str
    line: Line


@dataclass(frozen=True, kw_only=True)
class Report:
    """The text as the file holds it, its labelled sentences, and the labels they add up to."""

    text: str
    stated: tuple[StatedLine, ...]
    labels: Labels


def write_report(patient: Patient, truth: StudyTruth, seed: int) -> Report:
    """The report of one study; depends on nothing but its arguments."""
    rng = Random(f"sample/{seed}/report/{truth.study_id}")
    reader = rng.choice(READERS)
    shape = rng.choices(("both", "findings", "impression", "bare"), (0.88, 0.05, 0.055, 0.015))[0]
    findings = write_findings(truth, rng, reader) if shape != "impression" else []
    impression = [] if shape in ("findings", "bare") else _write_impression(truth, rng, reader, findings)
    blocks = _write_frame(patient, truth, rng)
    if findings:
        blocks.append(_section("" if shape == "bare" else _header("FINDINGS", rng), findings, rng))
    if impression:
        numbered = reader.numbers_impression and len(impression) > 1
        blocks.append(_section(_header("IMPRESSION", rng), impression, rng, numbered=numbered))
    text = _wet_read(impression, rng) + "\n".join([_BANNER, "\n \n".join(blocks)]) + "\n"
    where = "last_paragraph" if shape == "bare" else "findings"
    stated = [StatedLine(section=where, line=line) for line in findings]
    stated += [StatedLine(section="impression", line=line) for line in impression]
    return Report(text=text, stated=tuple(stated), labels=_label(stated))


def _label(stated: list[StatedLine]) -> Labels:
    label_set = load_label_set("chexpert14")
    assertions: dict[str, list[Assertion]] = {}
    others: list[Assertion] = []
    for fact in (fact for item in stated for fact in item.line.facts):
        for observation in label_set.observations_of(fact.finding):
            assertions.setdefault(observation, []).append(fact.assertion)
        if fact.finding in label_set.abnormal:
            others.append(fact.assertion)
    return label_report(assertions, label_set, others)


def _write_impression(truth: StudyTruth, rng: Random, reader: Reader, findings: list[Line]) -> list[Line]:
    whole = not findings
    phrases = load_phrases("impressions")
    signs = sorted(truth.signs, key=lambda sign: _URGENCY.index(sign.finding))
    lines = write_devices(truth, rng, reader) if whole else []
    if not whole and any(d.kind in _BEDSIDE for d in truth.devices) and rng.random() < 0.3:
        lines.append(say(choose(rng, phrases["support_device"], reader), {}))
    lines += [_conclude(sign, rng, reader) for sign in (signs if whole else signs[:4])]
    if not signs:
        stated = names_of((fact for line in findings for fact in line.facts), Assertion.PRESENT)
        fitting = [phrase for phrase in phrases["normal"] if not phrase.unless & stated]
        lines.append(say(choose(rng, fitting, reader), {}))
        if rng.random() < 0.2:
            lines.append(say(choose(rng, phrases["normal_negative"], reader), {}))
    return lines


def _conclude(sign: Sign, rng: Random, reader: Reader) -> Line:
    if sign.assertion is Assertion.UNCERTAIN or (sign.change and rng.random() < 0.6):
        return state_sign(sign, rng, reader)
    return say(choose(rng, load_phrases("impressions")[sign.finding], reader), slots_of(sign))


def _write_frame(patient: Patient, truth: StudyTruth, rng: Random) -> list[str]:
    frames = load_phrases("frames")
    view = truth.views[0] + (" AND LATERAL" if len(truth.views) > 1 else "")
    words = {"sex": "woman" if patient.sex == "F" else "man", "view": view, "View": view.capitalize()}
    kinds = {device.kind for device in truth.devices}
    cause = "injury" if truth.case == "injury" else "airway" if kinds & _BEDSIDE else "indication"
    blocks = []
    if rng.random() < 0.6:
        blocks.append(("EXAMINATION", "examination"))
    blocks.append((rng.choice(("INDICATION", "INDICATION", "HISTORY", "CLINICAL INFORMATION")), cause))
    if rng.random() < 0.3:
        blocks.append(("TECHNIQUE", "technique"))
    if rng.random() < 0.75:
        header = rng.choice(("COMPARISON",) * 12 + ("COMPARISION",))
        blocks.append((header, "comparison" if truth.has_prior else "first"))
    return [_wrap(f"{name}:  {say(rng.choice(frames[key]), words).text}") for name, key in blocks]


def _header(name: str, rng: Random) -> str:
    odd = {"FINDINGS": ("FINDIGS", "FINDING"), "IMPRESSION": ("IMPRESSON", "IMPRESSION")}[name]
    return rng.choice(odd) if rng.random() < 0.04 else name


def _section(header: str, lines: list[Line], rng: Random, *, numbered: bool = False) -> str:
    texts = [line.text for line in lines]
    if numbered:
        body = "\n".join(_wrap(f"{number}. {text}") for number, text in enumerate(texts, start=1))
        return f" {header}: \n \n{body}"
    if header and rng.random() < 0.35:
        return f" {header}: \n \n" + _wrap(" ".join(texts))
    return _wrap((f"{header}:  " if header else "") + " ".join(texts))


def _wet_read(impression: list[Line], rng: Random) -> str:
    """A wet read or an addendum above the report, cut off by a full line of underscores; mostly nothing."""
    draw = rng.random()
    if impression and draw < 0.05:
        body = _wrap("WET READ: ___ ___ ___ ___:___ PM") + "\n" + _wrap(impression[0].text)
    elif 0.05 <= draw < 0.075:
        body = _wrap("ADDENDUM  " + say(rng.choice(load_phrases("frames")["notice"]), {}).text)
    else:
        return ""
    return f"{body}\n {'_' * _WIDTH}\n"


def _wrap(text: str) -> str:
    # "___" and "1." stay whole; two blanks after a header are kept, as MIMIC-CXR prints them
    return textwrap.fill(
        text, _WIDTH + 1, initial_indent=" ", subsequent_indent=" ", break_long_words=False, break_on_hyphens=False
    )
