"""The labels of a report do not depend on its layout, and every mention points at its words."""

import csv
import tarfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from functools import cache
from random import Random

import pytest

from tests.core.report.perturbations import PERTURBATIONS, Sections, plain
from tests.real_data import REAL_DATA
from trrg_core.labels import Labels
from trrg_core.report.continued import BARE
from trrg_core.report.lexicon import load_lexicon
from trrg_core.report.parser import ReportParser
from trrg_core.report.scan import scan_sentence
from trrg_core.report.sections import find_sections

INVENTED: list[Sections] = [
    [
        ("FINDINGS", "The heart is mildly enlarged. No pleural effusion or pneumothorax. Small left basilar opacity."),
        ("IMPRESSION", "Mild cardiomegaly without edema. Possible left lower lobe pneumonia."),
    ],
    [
        ("FINDINGS", "There is a moderate right effusion. Lungs are clear without consolidation. ETT is in place."),
        ("IMPRESSION", "Right effusion. No pneumothorax."),
    ],
]
NUM_FUZZED = 3_000
STAND_INS = (
    *("it", "this", "that", "these", "those", "they", "both", "one", "ones", "none", "its", "their", "neither"),
    *("former", "latter", "first", "second"),
)
_NOISE = [
    "\n",
    "\r\n",
    "\0",
    "\t",
    "  ",
    ":",
    "(",
    ")",
    "[ ]",
    "1. ",
    "- ",
    "?",
    "...",
    "\u2022 ",
    "no ",
    "w/o ",
    "\u0130",
]


@cache
def real_reports() -> list[Sections]:
    """The reports of IU-Xray, and those in MIMIC's layout by their sections."""
    reports: list[Sections] = []
    archive = REAL_DATA / "iu_xray" / "ecgen-radiology.tgz"
    if not archive.is_file():
        pytest.skip("TRRG_REAL_DATA has no iu_xray/ecgen-radiology.tgz")
    with tarfile.open(archive) as files:
        for member in files:
            file = files.extractfile(member) if member.name.endswith(".xml") else None
            if file is not None:
                parts = {
                    one.get("Label"): one.text or "" for one in ET.parse(file).getroot().findall(".//AbstractText")
                }
                named = [(name, parts.get(name, "")) for name in ("FINDINGS", "IMPRESSION")]
                reports.append([(name, text) for name, text in named if text.strip()])
    for path in sorted((REAL_DATA / "mimic_like" / "files").rglob("s*.txt")):
        text = path.read_bytes().decode()
        found = [one for one in find_sections(text) if one.name in ("findings", "impression")]
        reports.append([(one.name.upper(), " ".join(text[one.start : one.end].split())) for one in found])
    with (REAL_DATA / "label_reference" / "chexpert_sample_reports.csv").open(encoding="utf-8", newline="") as rows:
        reports.extend([("FINDINGS", " ".join(row[0].split()))] for row in csv.reader(rows) if row)
    return [report for report in reports if report]


@pytest.fixture(scope="module")
def parser() -> ReportParser:
    return ReportParser()


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_layout_changes_no_label(parser: ReportParser, name: str) -> None:
    for report in INVENTED:
        assert parser.parse(PERTURBATIONS[name](report)).labels == parser.parse(plain(report)).labels


@pytest.fixture(scope="module")
def real_labels(parser: ReportParser) -> list[Labels]:
    """The labels of each real report in its plain layout."""
    return [parser.parse(plain(report)).labels for report in real_reports()]


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_layout_changes_no_label_of_a_real_report(parser: ReportParser, real_labels: list[Labels], name: str) -> None:
    reports = real_reports()
    changed = sum(
        parser.parse(PERTURBATIONS[name](report)).labels != labels
        for report, labels in zip(reports, real_labels, strict=True)
    )
    assert len(reports) > 2_800
    assert changed == 0


def fuzzed(reports: list[Sections], count: int) -> Iterator[str]:
    """Reports with pieces cut out, doubled and moved, and noise put between them."""
    random = Random(5)
    for _ in range(count):
        text = PERTURBATIONS[random.choice(list(PERTURBATIONS))](random.choice(reports))
        for _ in range(random.randint(1, 8)):
            start = random.randrange(len(text) + 1)
            end = min(len(text), start + random.randint(0, 40))
            piece = random.choice(["", text[start:end] * 2, random.choice(_NOISE), text[: random.randint(0, 30)]])
            text = text[:start] + piece + text[end:]
        yield text


def check_offsets(parser: ReportParser, texts: Iterator[str]) -> int:
    """Asserts that sentences and mentions lie where they say; returns the number of mentions."""
    num_mentions = 0
    for text in texts:
        for sentence in parser.parse(text).sentences:
            assert text[sentence.start : sentence.end] == sentence.text
            for mention in sentence.mentions:
                assert sentence.start <= mention.start < mention.end <= sentence.end
                words = " ".join(text[mention.start : mention.end].lower().replace("-", " ").split())
                names = scan_sentence(text[mention.start : mention.end], load_lexicon(), everything=True).has_target
                assert names or words in STAND_INS or BARE.match(words)  # "not seen" goes on about a finding
                num_mentions += 1
    return num_mentions


def test_mentions_of_fuzzed_reports_point_at_their_words(parser: ReportParser) -> None:
    assert check_offsets(parser, fuzzed(INVENTED, 500)) > 500


@pytest.mark.slow
@pytest.mark.real_data
def test_mentions_of_fuzzed_real_reports_point_at_their_words(parser: ReportParser) -> None:
    assert check_offsets(parser, fuzzed(real_reports(), NUM_FUZZED)) > NUM_FUZZED
