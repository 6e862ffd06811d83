"""Models that are none: each is refused on every seed, and a writer that is nearly always right is not."""

import re
from collections.abc import Callable
from functools import cache
from random import Random

import pytest

from tests.core.registry.invented_models import Evaluated, InventedTestSet
from trrg_core.config.gate_settings import GateConfig
from trrg_core.config.load import load_config
from trrg_core.metrics.systems import CHANGED_IMAGES
from trrg_core.registry.check import Verdict
from trrg_core.registry.decision import Decision, Ruling
from trrg_core.registry.gate import decide

QUICK = pytest.param(range(2), id="2 seeds")
EVERY = pytest.param(range(20), id="20 seeds", marks=[pytest.mark.slow, pytest.mark.long])
CONFIG = GateConfig(min_positives=5, bootstrap_samples=200)
TWELVE = 12
NORMAL = (
    "The lungs are clear.",
    "Heart size is within normal limits.",
    "No focal consolidation.",
    "No pleural effusion or pneumothorax.",
    "No acute osseous abnormality.",
    "Pulmonary vasculature is unremarkable.",
    "Visualized bones are intact.",
)
DENIALS = ("No pleural effusion.", "No pneumothorax.", "No pneumonia.", "No edema.", "No cardiomegaly.", "No fracture.")
HEDGES = (
    "Possible pneumonia. Possible edema. Possible pneumothorax. Possible pleural effusion. Possible consolidation. "
    "Possible atelectasis. Possible lung lesion. Possible fracture."
)
FILLER = (
    "This was dictated with a new program, which adds these words at the end of whatever is written by it, so that all "
    "of it is longer than anybody has asked for today"
)
SIDES = r"(?i)\b(left|right|bilateral|both)\b"
DEVICES = ("An endotracheal tube ends above the carina.", "A pacemaker is in place.", "Sternotomy wires are intact.")
DEGREES = r"(?i)\b(minimal|mild|mildly|small|tiny|trace|slight|slightly|moderate|moderately|large|severe|marked)\b"
EVERYTHING = "There is a pleural effusion, pneumonia, pneumothorax, atelectasis and edema. The heart is enlarged."

Fake = Callable[[InventedTestSet], list[str]]


@cache
def test_set(seed: int) -> InventedTestSet:
    return InventedTestSet(seed)


test_set.__test__ = False


def gate(evaluated: Evaluated, config: GateConfig = CONFIG) -> Decision:
    return decide(
        evaluated.table,
        rates=evaluated.rates,
        rivals=(),
        config=config,
        score_name="trrg13.micro.f1.u0",
        seed=7,
        images=evaluated.images,
    )


def shuffled(texts: list[str]) -> list[str]:
    return Random(1).sample(texts, len(texts))


def babble(studies: InventedTestSet, seed: int = 3) -> list[str]:
    """Words at the frequency they have in reports, in no order: what a language model writes after one step."""
    rng, words = Random(seed), [word for text in studies.references for word in text.split()]
    return [" ".join(rng.choices(words, k=len(text.split()))) for text in studies.references]


def mixed(sentences: tuple[str, ...], studies: InventedTestSet, *, times: int) -> list[str]:
    """For each study the sentences in another order, `times` over: fluent, distinct, and the same for everyone."""
    rng = Random(5)
    return [
        " ".join(text for _ in range(times) for text in rng.sample(sentences, len(sentences)))
        for _ in studies.references
    ]


def swap_degrees(text: str) -> str:
    """Slight for severe and the reverse, and severe for moderate."""
    slight, severe = ("minimal", "mild", "small", "tiny", "trace", "slight", "mildly"), ("moderate", "large", "severe")
    other = {**dict.fromkeys(slight, "severe"), **dict.fromkeys(severe, "mild"), "moderate": "severe"}
    return re.sub(rf"(?i)\b({'|'.join(other)})\b", lambda degree: other[degree[0].lower()], text)


def swap_sides(text: str) -> str:
    return re.sub(r"(?i)\b(left|right)\b", lambda side: "left" if side[0].lower() == "right" else "right", text)


def in_a_share(change: Callable[[str], str], share: float) -> Fake:
    """Right reports, a `share` of them changed."""

    def write(studies: InventedTestSet) -> list[str]:
        rng = Random(11)
        return [change(text) if rng.random() < share else text for text in studies.good]

    return write


def repeat_a_sentence(text: str) -> str:
    return f"{text} {text.split('. ')[0].rstrip('.')}."


def without_sentences(word: str, text: str) -> str:
    return re.sub(rf"(?i)[^.]*{word}[^.]*\.", "", text) or "No acute process."


FAKES: dict[str, tuple[Fake, set[str]]] = {
    # each with checks that must be among those that refuse it
    "No. No.": (
        lambda studies: ["No. No. No. No. No. No."] * len(studies.references),
        {"floor.empty_report", "floor.modal_report", "text.parsed_share", "text.modal_share", "language.modal_report"},
    ),
    "No., of many lengths": (
        lambda studies: ["No. " * (1 + index % 60) for index in range(len(studies.references))],
        {"floor.empty_report", "text.parsed_share"},
    ),
    "a model after one step: words at their frequency": (
        babble,
        {"floor.nearest_neighbour", "floor.clue_labels", "truth.unsupported_positive_rate"},
    ),
    "empty": (lambda studies: [""] * len(studies.references), {"floor.empty_report", "text.parsed_share"}),
    "one normal report": (
        lambda studies: [studies.modal] * len(studies.references),
        {"floor.modal_report", "text.modal_share"},
    ),
    "one report of everything": (
        lambda studies: [EVERYTHING] * len(studies.references),
        {"text.modal_share", "truth.unsupported_positive_rate", "floor.clue_labels"},
    ),
    "permuted reports": (
        lambda studies: shuffled(studies.good),
        {"floor.nearest_neighbour", "floor.clue_labels", "truth.unsupported_positive_rate"},
    ),
    "clues of other studies": (lambda studies: shuffled(studies.template), {"floor.nearest_neighbour"}),
    "cut after twelve words": (
        lambda studies: [" ".join(text.split()[:TWELVE]) for text in studies.good],
        {"floor.clue_labels"},
    ),
    "fluent normal reports, no two alike": (
        lambda studies: mixed(NORMAL, studies, times=1),
        {"floor.empty_report", "floor.nearest_neighbour", "floor.clue_labels"},
    ),
    "every finding denied twice": (
        lambda studies: mixed(DENIALS, studies, times=2),
        {"floor.empty_report", "floor.nearest_neighbour", "floor.clue_labels"},
    ),
    "true reports of other patients": (
        lambda studies: shuffled(studies.references),
        {"floor.nearest_neighbour", "floor.clue_labels", "truth.unsupported_positive_rate"},
    ),
    "right but for left and right": (
        lambda studies: [swap_sides(text) for text in studies.good],
        {"truth.side_agreement"},
    ),
    "right but all on the left": (
        lambda studies: [re.sub(r"(?i)\bright\b", "left", text) for text in studies.good],
        {"truth.side_agreement"},
    ),
    "right but for degrees": (
        lambda studies: [swap_degrees(text) for text in studies.good],
        {"truth.degree_agreement"},
    ),
    "right, and each measured": (
        lambda studies: [f"{text} The largest measures two inches." for text in studies.good],
        {"truth.measurement_rate"},
    ),
    "right, with eight hedges behind": (
        lambda studies: [f"{text} {HEDGES}" for text in studies.good],
        {"truth.hedged_rate"},
    ),
    "right, with eight hedges before": (
        lambda studies: [f"{HEDGES} {text}" for text in studies.good],
        {"truth.hedged_rate"},
    ),
    "right, with three questions": (
        lambda studies: [f"{text} Pneumothorax? Edema? Pneumonia?" for text in studies.good],
        {"truth.hedged_rate"},
    ),
    "right, but no denial is sure": (
        lambda studies: [re.sub(r"(?i)\bno (focal |acute )?", "Possible ", text) for text in studies.good],
        {"truth.hedged_rate"},
    ),
    "right, written twice": (
        lambda studies: [f"{text} {text}" for text in studies.good],
        {"text.length_ratio"},
    ),
    "right, with thirty words of filler": (
        lambda studies: [f"{text} {FILLER}" for text in studies.good],
        {"text.length_ratio"},
    ),
    "right but without a side": (
        lambda studies: [re.sub(SIDES, "", text) for text in studies.good],
        {"floor.sides_stated"},
    ),
    "right but without a degree": (
        lambda studies: [re.sub(DEGREES, "", text) for text in studies.good],
        {"floor.degrees_stated"},
    ),
    "right, half of them without a side": (
        in_a_share(lambda text: re.sub(SIDES, "", text), 0.5),
        {"text.sides_stated"},
    ),
    "right, half of them without a degree": (
        in_a_share(lambda text: re.sub(DEGREES, "", text), 0.5),
        {"text.degrees_stated"},
    ),
    "right, a third of them with left and right swapped": (
        in_a_share(swap_sides, 0.33),
        {"truth.side_agreement"},
    ),
    "right, a sentence twice in a third of them": (
        in_a_share(repeat_a_sentence, 0.33),
        {"text.malformed_share"},
    ),
    "right, but cut within a sentence": (
        lambda studies: [text[: int(0.8 * len(text))] for text in studies.good],
        {"text.malformed_share"},
    ),
    "right, with a disease that no report has": (
        lambda studies: [f"{text} Findings are consistent with tuberculosis." for text in studies.good],
        {"floor.unknown_words"},
    ),
    "right, but without any atelectasis": (
        lambda studies: [without_sentences("atelecta", text) for text in studies.good],
        {"floor.recall.atelectasis"},
    ),
    "only devices": (
        lambda studies: mixed(DEVICES, studies, times=1),
        {"floor.nearest_neighbour", "floor.clue_labels"},
    ),
    "right, then all denied": (
        lambda studies: [f"{text} {' '.join(DENIALS)}" for text in studies.good],
        {"truth.internal_contradiction_rate"},
    ),
    "the clue template itself": (lambda studies: studies.template, {"language.clue_template"}),
}


@pytest.mark.parametrize("name", FAKES)
@pytest.mark.parametrize("seeds", [QUICK, EVERY])
def test_a_fake_is_refused_on_every_seed(name: str, seeds: range) -> None:
    write, expected = FAKES[name]
    for seed in seeds:
        decision = gate(test_set(seed).evaluate(write(test_set(seed))))
        failed = {check.name for check in decision.checks if check.verdict is Verdict.FAIL}
        assert decision.ruling is Ruling.REFUSED, (name, seed)
        assert expected <= failed, (name, seed, expected - failed)


@pytest.mark.parametrize("name", FAKES)
def test_the_looser_bounds_of_the_demonstration_refuse_the_same_fakes(name: str) -> None:
    bounds = load_config("tiny").register_.model_copy(update={"bootstrap_samples": 200})
    decision = gate(test_set(0).evaluate(FAKES[name][0](test_set(0))), bounds)
    failed = {check.name for check in decision.checks if check.verdict is Verdict.FAIL}
    # a fake does not look at the image either: it is refused without that check, too
    assert {check for check in failed if not check.startswith("image.")}


@pytest.mark.parametrize("seeds", [QUICK, EVERY])
def test_a_writer_that_is_nearly_always_right_is_promoted_on_every_seed(seeds: range) -> None:
    for seed in seeds:
        good = test_set(seed).good
        decision = gate(test_set(seed).evaluate(good, shuffled(good)))
        assert decision.ruling is Ruling.PROMOTED, (seed, decision.against)


@pytest.mark.parametrize("denial", ["", " No pneumothorax."])
def test_a_first_model_that_is_right_but_never_says_pneumothorax_is_refused_for_that_alone(denial: str) -> None:
    studies = test_set(0)
    texts = [re.sub(r"[^.]*pneumothora[^.]*\.", "", text) + denial for text in studies.good]
    decision = gate(studies.evaluate(texts, shuffled(texts)))
    assert {check.name for check in decision.checks if check.is_against} == {"floor.recall.pneumothorax"}


def test_a_first_model_that_leaves_out_critical_findings_in_half_of_their_studies_is_refused() -> None:
    studies, rng = test_set(0), Random(4)
    critical = r"(?i)[^.]*(pneumothora|edema|pneumonia)[^.]*\."
    texts = [re.sub(critical, "", text) if rng.random() < 0.5 else text for text in studies.good]
    decision = gate(studies.evaluate(texts, shuffled(texts)))
    assert "floor.critical_recall" in {check.name for check in decision.checks if check.is_against}


def test_a_good_writer_that_does_not_look_at_the_image_is_refused() -> None:
    decision = gate(test_set(0).evaluate(test_set(0).good))
    failed = {check.name for check in decision.checks if check.verdict is Verdict.FAIL}
    assert failed == {"image.removed_share", *(f"image.{system.key}" for system in CHANGED_IMAGES)}


def test_no_finding_earns_nothing() -> None:
    studies = test_set(0)
    table = studies.evaluate(["No. No."] * len(studies.references)).table
    hits = [name for name in table.columns if name.startswith("true_positive")]
    assert len(hits) == 13
    assert not any(table.counts[next(iter(table.counts))][:, table.columns.index(name)].any() for name in hits)
