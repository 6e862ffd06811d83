"""An invented report: banner, misspelt headers, sections wrapped as in MIMIC-CXR, and the facts that it states.

StudyTruth -> Report. The labels follow from the mentions in findings and impression, by CheXpert's rules; an
indication such as "rule out pneumonia" states nothing, and degenerative changes of the spine exclude "No Finding".
"""

import textwrap
from dataclasses import dataclass
from random import Random

from trrg_core.labels import Assertion, Labels, label_report, load_label_set
from trrg_core.sources.sample.findings_text import state_sign, write_devices, write_findings
from trrg_core.sources.sample.ground_truth import Patient, Sign, StudyTruth
from trrg_core.sources.sample.readers import READERS, Reader, choose_phrase
from trrg_core.sources.sample.slots import slots_of
from trrg_core.sources.sample.styles import LINES, Style, Styles, draw_style, restyle
from trrg_core.sources.sample.wording import Sentence, fill_phrase, findings_with, load_phrases

_WIDTH = 78  # without the space at the start of every line
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
class ReportSentence:
    """A sentence of the report and its section."""

    section: str
    sentence: Sentence


@dataclass(frozen=True, kw_only=True)
class Report:
    """The text of the report file, its labelled sentences, and the labels of the whole report."""

    text: str
    sentences: tuple[ReportSentence, ...]
    labels: Labels


def write_report(patient: Patient, truth: StudyTruth, seed: int, styles: Styles = "plain") -> Report:
    """The report of one study; depends on nothing but its arguments.

    With `styles="mixed"` the report of `plain` is said in a style that is drawn for the study.
    """
    rng = Random(f"sample/{seed}/report/{truth.study_id}")
    reader = rng.choice(READERS)
    shape = rng.choices(("both", "findings", "impression", "bare"), (0.88, 0.05, 0.055, 0.015))[0]
    findings = write_findings(truth, rng, reader) if shape != "impression" else []
    impression = [] if shape in ("findings", "bare") else _write_impression(truth, rng, reader, findings)
    blocks = _write_preamble(patient, truth, rng)
    style: Style = "prose"
    if styles == "mixed":
        style_rng = Random(f"sample/{seed}/style/{truth.study_id}")
        style = draw_style(style_rng)
        findings = restyle(findings, truth, style, style_rng)
        impression = restyle(impression, truth, style, style_rng)
    if findings:
        header = "" if shape == "bare" else _header("FINDINGS", rng)
        blocks.append(_lines(header, findings) if style in LINES else _section(header, findings, rng))
    if impression:
        numbered = reader.is_numbered and len(impression) > 1
        header = _header("IMPRESSION", rng)
        blocks.append(
            _lines(header, impression) if style in LINES else _section(header, impression, rng, numbered=numbered)
        )
    text = _wet_read(impression, rng) + "\n".join([_BANNER, "\n \n".join(blocks)]) + "\n"
    section = "last_paragraph" if shape == "bare" else "findings"
    sentences = [ReportSentence(section=section, sentence=sentence) for sentence in findings]
    sentences += [ReportSentence(section="impression", sentence=sentence) for sentence in impression]
    return Report(text=text, sentences=tuple(sentences), labels=_label(sentences))


def _label(sentences: list[ReportSentence]) -> Labels:
    label_set = load_label_set("chexpert14")
    assertions: dict[str, list[Assertion]] = {}
    other_abnormalities: list[Assertion] = []
    for fact in (fact for item in sentences for fact in item.sentence.facts):
        for observation in label_set.observations_of(fact.finding):
            assertions.setdefault(observation, []).append(fact.assertion)
        if fact.finding in label_set.abnormal:
            other_abnormalities.append(fact.assertion)
    return label_report(assertions, label_set, other_abnormalities)


def _write_impression(truth: StudyTruth, rng: Random, reader: Reader, findings: list[Sentence]) -> list[Sentence]:
    is_whole_report = not findings
    phrases = load_phrases("impressions")
    signs = sorted(truth.signs, key=lambda sign: _URGENCY.index(sign.finding))
    sentences = write_devices(truth, rng, reader) if is_whole_report else []
    if not is_whole_report and any(d.kind in _BEDSIDE for d in truth.devices) and rng.random() < 0.3:
        sentences.append(fill_phrase(choose_phrase(rng, phrases["support_device"], reader), {}))
    sentences += [_summarise_sign(sign, rng, reader) for sign in (signs if is_whole_report else signs[:4])]
    if not signs:
        present = findings_with((fact for sentence in findings for fact in sentence.facts), Assertion.PRESENT)
        fitting = [phrase for phrase in phrases["normal"] if not phrase.unless & present]
        sentences.append(fill_phrase(choose_phrase(rng, fitting, reader), {}))
        if rng.random() < 0.2:
            sentences.append(fill_phrase(choose_phrase(rng, phrases["normal_negative"], reader), {}))
    return sentences


def _summarise_sign(sign: Sign, rng: Random, reader: Reader) -> Sentence:
    if sign.assertion is Assertion.UNCERTAIN or (sign.change and rng.random() < 0.6):
        return state_sign(sign, rng, reader)
    return fill_phrase(choose_phrase(rng, load_phrases("impressions")[sign.finding], reader), slots_of(sign))


def _write_preamble(patient: Patient, truth: StudyTruth, rng: Random) -> list[str]:
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
    return [_wrap(f"{name}:  {fill_phrase(rng.choice(frames[key]), words).text}") for name, key in blocks]


def _header(name: str, rng: Random) -> str:
    misspelt = {"FINDINGS": ("FINDIGS", "FINDING"), "IMPRESSION": ("IMPRESSON", "IMPRESSION")}[name]
    return rng.choice(misspelt) if rng.random() < 0.04 else name


def _section(header: str, sentences: list[Sentence], rng: Random, *, numbered: bool = False) -> str:
    texts = [sentence.text for sentence in sentences]
    if numbered:
        body = "\n".join(_wrap(f"{number}. {text}") for number, text in enumerate(texts, start=1))
        return f" {header}: \n \n{body}"
    if header and rng.random() < 0.35:
        return f" {header}: \n \n" + _wrap(" ".join(texts))
    return _wrap((f"{header}:  " if header else "") + " ".join(texts))


def _lines(header: str, sentences: list[Sentence]) -> str:
    """A section with one line, wrapped where it is long, for each sentence."""
    return "\n".join([*([f" {header}:"] if header else []), *(_wrap(sentence.text) for sentence in sentences)])


def _wet_read(impression: list[Sentence], rng: Random) -> str:
    """A wet read or an addendum above the report, separated by a line of underscores; usually empty."""
    draw = rng.random()
    if impression and draw < 0.05:
        body = _wrap("WET READ: ___ ___ ___ ___:___ PM") + "\n" + _wrap(impression[0].text)
    elif 0.05 <= draw < 0.075:
        body = _wrap("ADDENDUM  " + fill_phrase(rng.choice(load_phrases("frames")["notice"]), {}).text)
    else:
        return ""
    return f"{body}\n {'_' * _WIDTH}\n"


def _wrap(text: str) -> str:
    # "___" and "1." are not broken; the two spaces after a header are kept, as in MIMIC-CXR
    return textwrap.fill(
        text, _WIDTH + 1, initial_indent=" ", subsequent_indent=" ", break_long_words=False, break_on_hyphens=False
    )
