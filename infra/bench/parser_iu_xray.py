"""The parser on IU-Xray: positive labels of nih14 against the labels that people assigned."""

import csv
import hashlib
import tarfile
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence

from infra.bench.parser_row import DATA, Row, run_peer
from trrg_core.errors import DataError
from trrg_core.labels import Label
from trrg_core.report.lexicon import load_lexicon
from trrg_core.report.parser import ReportParser
from trrg_core.report.sentences import find_sentences


def score_iu_xray() -> list[Row]:
    """Micro-F1 of the positive labels of nih14 against the labels that people assigned."""
    gold, texts = read_iu_xray()
    parser = ReportParser("nih14")
    names = [name for name in parser.label_set.observations if name not in ("Hernia", "No Finding")]
    wanted = {uid: {name for name in names if row[name] == "1"} for uid, row in gold.items() if uid in texts}
    ours = {uid: positives(parser.parse(texts[uid]).labels, names) for uid in wanted}
    lexicon = load_lexicon()
    phrases = {
        " ".join(phrase.split()): finding
        for phrase, entry in lexicon.phrases()
        for finding in [next((term.name for term in entry.terms if term.role == "finding"), "")]
        if any(finding in parser.label_set.findings[name] for name in names)
    }
    reports = [[texts[uid], find_sentences(texts[uid])] for uid in wanted]
    peers = {}
    for tool in ("negspacy", "medspacy"):
        result = run_peer(tool, phrases=phrases, reports=reports, rounds=1)
        if result:
            peers[tool] = {
                uid: {name for name in names if states_one_of(entities, parser.label_set.findings[name])}
                for uid, entities in zip(wanted, result["reports"], strict=True)
            }
    subsets = {
        "all": list(wanted),
        "NegBio test": [uid for uid in wanted if gold[uid]["in_negbio_testset"] == "1"],
        "dev": [uid for uid in wanted if is_dev(uid)],
        "held": [uid for uid in wanted if not is_dev(uid)],
    }
    return [
        Row(
            f"IU-Xray nih14 positives micro-F1, {name}, {len(uids)} reports",
            micro_f1(wanted, ours, uids),
            0.88 if name in ("all", "NegBio test") else None,
            ", ".join(f"{tool} {micro_f1(wanted, labels, uids):.3f}" for tool, labels in peers.items()),
        )
        for name, uids in subsets.items()
    ]


def states_one_of(entities: Iterable[Sequence[object]], findings: Sequence[str]) -> bool:
    """Whether one of `findings` is present, current, and of the patient."""
    return any(
        finding in findings and assertion == "PRESENT" and not is_historical and not is_other
        for finding, assertion, is_historical, is_other in entities
    )


def positives(labels: Mapping[str, Label | None], names: Iterable[str]) -> set[str]:
    """The observations that are POSITIVE."""
    return {name for name in names if labels[name] is Label.POSITIVE}


def micro_f1(wanted: dict[str, set[str]], predicted: dict[str, set[str]], uids: Iterable[str]) -> float:
    """F1 over all (report, observation) pairs of `uids`."""
    pairs = [(wanted[uid], predicted[uid]) for uid in uids]
    right = sum(len(one & other) for one, other in pairs)
    return 2 * right / max(1, sum(len(one) + len(other) for one, other in pairs))


def is_dev(key: str) -> bool:
    """Whether report `key` is in the half that was read while the rules were written."""
    return int(hashlib.md5(key.encode(), usedforsecurity=False).hexdigest(), 16) % 2 == 0


def read_iu_xray() -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Reference rows and report texts (findings and impression) by uid.

    Raises:
        DataError: if a report has no uid.
    """
    with (DATA / "iu_xray" / "openi_gold14.csv").open(encoding="utf-8", newline="") as table:
        gold = {row["filename"].removeprefix("CXR"): row for row in csv.DictReader(table)}
    texts: dict[str, str] = {}
    with tarfile.open(DATA / "iu_xray" / "ecgen-radiology.tgz") as archive:
        for member in archive:
            if not member.name.endswith(".xml") or (file := archive.extractfile(member)) is None:
                continue
            root = ET.parse(file).getroot()
            parts = {part.get("Label"): part.text or "" for part in root.findall(".//AbstractText")}
            uid = next((one.get("id") for one in root.iter("IUXRId")), None)
            if uid is None:
                raise DataError("bad_id", f"{member.name} of ecgen-radiology.tgz: found no IUXRId with an id")
            texts[uid] = f"FINDINGS: {parts.get('FINDINGS', '')}\n\nIMPRESSION: {parts.get('IMPRESSION', '')}"
    return gold, texts
