"""The gate against writers that are wrong on purpose: how many of them become the first champion.

    python -m infra.bench.gate_writers             # 20 test sets, six minutes of CPU
    python -m infra.bench.gate_writers --sets 2

Each makes its reports of those of a writer that is right in nine of ten studies, whatever a training could do about it,
and looks at the image. The test sets are invented (`tests.core.registry.invented_models`). Prints a table of
docs/gate.md; exits 1 if a writer is promoted that never should be.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from random import Random

from tests.core.registry.invented_models import InventedTestSet
from trrg_core.config.gate_settings import GateConfig
from trrg_core.registry.decision import Decision
from trrg_core.registry.gate import decide

CONFIG = GateConfig(min_positives=5, bootstrap_samples=200)
Change = Callable[[str, Random], str]
# what is changed, and in which share of the reports
Writer = tuple[Change, float]

SIDES = r"(?i)\b(left|right|bilateral|both)\b"
DEGREES = r"(?i)\b(minimal|mild|mildly|small|tiny|trace|slight|slightly|moderate|moderately|large|severe|marked)\b"
NORMAL = ("The lungs are clear.", "Heart size is normal.", "No pleural effusion or pneumothorax.", "No acute fracture.")
DEVICES = ("An endotracheal tube ends above the carina.", "A pacemaker is in place.", "Sternotomy wires are intact.")


def main() -> int:
    """Let every writer write and print the table; 1 if one of `REFUSED` was promoted."""
    options = _parse_options()
    test_sets = [InventedTestSet(seed) for seed in range(options.sets)]
    print("| writer | promoted, of test sets | checks that failed most often, of test sets |")
    print("| --- | ---: | --- |")
    broken = []
    for name, writer in {**REFUSED, **DOUBTFUL}.items():
        decisions = [judge(studies, write(studies, writer)) for studies in test_sets]
        promoted = sum(decision.promote for decision in decisions)
        failed = Counter(check.name for decision in decisions for check in decision.checks if check.is_against)
        words = ", ".join(f"`{check}` {count}" for check, count in failed.most_common(3)) or "-"
        print(f"| {name} | {promoted} of {len(decisions)} | {words} |", flush=True)
        broken += [name] if promoted and name in REFUSED else []
    print(f"\n{'FAIL: promoted: ' + '; '.join(broken) if broken else 'PASS: no writer of the first part was promoted'}")
    return 1 if broken else 0


def write(studies: InventedTestSet, writer: Writer) -> list[str]:
    """The reports of a writer."""
    change, share = writer
    rng = Random(11)
    return [change(text, rng) if rng.random() < share else text for text in studies.good]


def judge(studies: InventedTestSet, texts: list[str]) -> Decision:
    """The decision about a first model that writes `texts`, and those of other studies for changed images."""
    evaluated = studies.evaluate(texts, Random(1).sample(texts, len(texts)))
    return decide(
        evaluated.table,
        rates=evaluated.rates,
        rivals=(),
        config=CONFIG,
        score_name="micro-F1",
        seed=7,
        images=evaluated.images,
    )


def _sentences(text: str) -> list[str]:
    return [sentence.strip() for sentence in re.findall(r"[^.!?]+[.!?]", text)] or [text]


def _without(pattern: str, text: str, _: Random) -> str:
    kept = [sentence for sentence in _sentences(text) if not re.search(pattern, sentence, re.I)]
    return " ".join(kept) or "No acute process."


def _replace(pattern: str, word: str, text: str, _: Random) -> str:
    return re.sub(pattern, word, text)


def _swap_sides(text: str, _: Random) -> str:
    return re.sub(r"(?i)\b(left|right)\b", lambda side: "left" if side[0].lower() == "right" else "right", text)


def _repeat(text: str, rng: Random) -> str:
    sentences = _sentences(text)
    return " ".join([*sentences, rng.choice(sentences)])


def _append(words: str, text: str, _: Random) -> str:
    return f"{text} {words}"


def _cut(text: str, _: Random) -> str:
    return text[: int(0.8 * len(text))]


def _some_of(sentences: tuple[str, ...], _: str, rng: Random) -> str:
    return " ".join(rng.sample(sentences, rng.randint(1, len(sentences))))


REFUSED: Mapping[str, Writer] = {
    "some normal sentences": (partial(_some_of, NORMAL), 1),
    "some devices": (partial(_some_of, DEVICES), 1),
    "normal sentences for half": (partial(_some_of, NORMAL), 0.5),
    "only what is denied or normal": (
        partial(_without, r"^(?!.*\b(no|without|clear|normal|unremarkable|intact)\b)"),
        1,
    ),
    "only what is affirmed": (partial(_without, r"\b(no|without|clear|normal|unremarkable|intact)\b"), 1),
    "everything on both sides": (partial(_replace, r"(?i)\b(left|right)\b", "bilateral"), 1),
    "everything mild": (partial(_replace, DEGREES, "mild"), 1),
    "everything possible": (partial(_replace, r"(?i)\b(no (evidence of )?|there is (an? )?)", "Possible "), 1),
    "everything moderate": (partial(_replace, DEGREES, "moderate"), 1),
    "upper for lower": (partial(_replace, r"(?i)\b(lower|base|basilar)\b", "upper"), 1),
    "half without sides": (partial(_replace, SIDES, ""), 0.5),
    "a sentence twice in a third": (_repeat, 0.33),
    "a sentence twice in a fifth": (_repeat, 0.2),
    "cut within a sentence": (_cut, 1),
    "a disease that no report has": (partial(_append, "Findings are consistent with tuberculosis."), 1),
    "a sentence of another language": (partial(_append, "Le parenchyme pulmonaire est normal."), 1),
    "noise of three words": (partial(_append, "asdf qwer zxcv."), 1),
    "a pacemaker in each": (partial(_append, "A pacemaker is in place."), 1),
    "all effusions left out": (partial(_without, "effusion"), 1),
    "all cardiomegaly left out": (partial(_without, "heart|cardi"), 1),
    "all atelectasis left out": (partial(_without, "atelect"), 1),
}
# near the bounds, or what the gate does not see
DOUBTFUL: Mapping[str, Writer] = {
    "half without degrees": (partial(_replace, DEGREES, ""), 0.5),
    "a third without sides": (partial(_replace, SIDES, ""), 0.33),
    "left and right swapped in a third": (_swap_sides, 0.33),
    "left and right swapped in a quarter": (_swap_sides, 0.25),
    "all fractures left out": (partial(_without, "fractur"), 1),
    "all lesions left out": (partial(_without, "nodule|mass|lesion"), 1),
    "normal sentences for a quarter": (partial(_some_of, NORMAL), 0.25),
    "unchanged": (lambda text, _: text, 1),
}


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=20, help="invented test sets of 260 studies")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
