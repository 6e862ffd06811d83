"""The parser on the NegEx and ConText kits: negation, temporality and experiencer as annotated by people."""

import csv
from collections.abc import Sequence

from infra.bench.parser_row import DATA, Row, run_peer
from trrg_core.labels import Assertion
from trrg_core.report.assertion import Asserted, assess_concept


def score_negation() -> list[Row]:
    """Accuracy, precision and recall of Negated on the NegEx kit; temporality and experiencer on the ConText kit."""
    kit = read_tsv("negex_annotations.tsv")
    rows = []
    ours = [assess(row["sentence"], row["concept"]) for row in kit]
    peers = {
        tool: run_peer(tool, concepts=[[row["sentence"], row["concept"]] for row in kit])
        for tool in ("negspacy", "medspacy")
    }
    gold = [row["negation"] == "Negated" for row in kit]
    peer_answers = {
        tool: [answer[0] == "ABSENT" for answer in result["concepts"]] for tool, result in peers.items() if result
    }
    own_answers = [asserted.assertion == Assertion.ABSENT for asserted in ours]
    floors = (0.985, 0.96, 0.97)
    for name, index, floor in zip(("accuracy", "precision", "recall"), range(3), floors, strict=True):
        others = ", ".join(f"{tool} {judge(gold, answers)[index]:.3f}" for tool, answers in peer_answers.items())
        rows.append(Row(f"NegEx kit {name}, {len(kit)} rows", judge(gold, own_answers)[index], floor, others))
    for half, wanted in (("dev", 1), ("held", 0)):
        keep = [index for index, row in enumerate(kit) if int(row["report_no"]) % 2 == wanted]
        value = judge([gold[i] for i in keep], [own_answers[i] for i in keep])
        rows.append(Row(f"  {half} half accuracy, {len(keep)} rows", value[0]))
    return [*rows, *score_context()]


def score_context() -> list[Row]:
    """Historical or recent, and patient or other person, on the ConText kit, against medspaCy."""
    kit = read_tsv("context_annotations.tsv")
    ours = [assess(row["sentence"], row["condition"]) for row in kit]
    peer = run_peer("medspacy", concepts=[[row["sentence"], row["condition"]] for row in kit])
    wanted_time = [row["temporality"] == "Historical" for row in kit]
    wanted_other = [row["experiencer"] != "Patient" for row in kit]
    rows = []
    for name, wanted, own_answers, position in (
        ("historical", wanted_time, [asserted.historical for asserted in ours], 1),
        ("experiencer", wanted_other, [asserted.experiencer != "patient" for asserted in ours], 2),
    ):
        theirs = judge(wanted, [answer[position] for answer in peer["concepts"]])[0] if peer else None
        others = f"medspacy {theirs:.3f}" if theirs is not None else ""
        rows.append(Row(f"ConText kit {name} accuracy, {len(kit)} rows", judge(wanted, own_answers)[0], theirs, others))
    return rows


def assess(sentence: str, concept: str) -> Asserted:
    """`assess_concept`; a concept that is not in the sentence counts as present."""
    try:
        return assess_concept(sentence, concept)
    except ValueError:
        return Asserted(assertion=Assertion.PRESENT, rule="not found")


def judge(gold: Sequence[bool], answers: Sequence[bool]) -> tuple[float, float, float]:
    """(accuracy, precision, recall) of True."""
    both = sum(g and a for g, a in zip(gold, answers, strict=True))
    right = sum(g == a for g, a in zip(gold, answers, strict=True))
    return right / len(gold), both / max(1, sum(answers)), both / max(1, sum(gold))


def read_tsv(name: str) -> list[dict[str, str]]:
    """The rows of a kit; quotes are text."""
    with (DATA / "negation" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
