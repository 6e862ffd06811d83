"""METEOR beside the program itself: the formula, the cut paraphrase table, several processes."""

import subprocess

import numpy as np
import pytest

from trrg_core.metrics import meteor
from trrg_core.metrics.java import JavaError, find_java, java_command, package_file
from trrg_core.metrics.language import meteor_files
from trrg_core.metrics.language.meteor_formula import corpus_meteor
from trrg_core.metrics.meteor import meteor_statistics

needs_java = pytest.mark.skipif(find_java() is None, reason="no Java on this machine")

PAIRS = [
    ("The heart is normal in size.", "heart size is normal"),
    ("no pleural effusion or pneumothorax is seen", "There is no effusion; there's no pneumothorax."),
    ("mild cardiomegaly", "the cardiac silhouette is mildly enlarged"),
    ("the lungs are clear", "the lungs are clear"),
    ("patient's well-aerated lungs, 1.5 cm nodule", "a 1.5-cm nodule in the patients lungs"),
    ("caf\u00e9 na\u00efve", "cafe naive"),
    ("bones are intact", ""),
    ("", ""),
    ("increased opacities", "opacity has increased"),
    ("a large pneumothorax on the x-ray", "big pneumothorax on the left-sided radiograph . moved"),
    ("a-b-c of 1.5-cm , unchanged", "a b-c of 1.5 cm unaltered"),
    ("5\u00b5m of the heart 's size", "five or 5 m of the bosom"),
    ("hopeful men's feet", "a man hoped the foot is full of hope"),
]


def ask_the_program(pairs: list[tuple[str, str]]) -> tuple[list[float], float]:
    """Scores of the pairs and of the corpus, by the program with its whole table, in the protocol of pycocoevalcap."""
    jar = package_file("pycocoevalcap.meteor", "meteor-1.5.jar")
    command = java_command("-Xmx2G", "-jar", str(jar), "-", "-", "-stdio", "-l", "en", "-norm")
    asked = "".join(f"SCORE ||| {reference} ||| {hypothesis}\n" for reference, hypothesis in pairs)
    with subprocess.Popen(command, cwd=jar.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(asked)
        process.stdin.flush()
        statistics = [process.stdout.readline().strip() for _ in pairs]
        process.stdin.write(" ||| ".join(["EVAL", *statistics]) + "\n")
        process.stdin.flush()
        scores = [float(process.stdout.readline()) for _ in range(len(pairs) + 1)]
        process.kill()
    return scores[:-1], scores[-1]


@needs_java
@pytest.mark.slow
def test_pairs_and_corpus_have_the_scores_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meteor, "_MIN_PAIRS_PER_PROCESS", 3)  # so that several processes share the pairs
    monkeypatch.setattr(meteor.os, "sched_getaffinity", lambda pid: range(3))
    ours = meteor_statistics([*PAIRS, PAIRS[0]])
    of_pairs, of_corpus = ask_the_program([*PAIRS, PAIRS[0]])
    assert corpus_meteor(ours) == pytest.approx(of_pairs, abs=1e-12)
    assert corpus_meteor(ours.sum(axis=0)[None])[0] == pytest.approx(of_corpus, abs=1e-12)
    assert (ours[0] == ours[-1]).all()


def test_pairs_that_meteor_must_normalise_go_to_as_few_processes_as_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meteor, "_MIN_PAIRS_PER_PROCESS", 2)
    monkeypatch.setattr(meteor.os, "sched_getaffinity", lambda pid: range(3))
    pairs = [("x-ray", "a"), ("b", "Heart."), ("c", "c"), ("d", ""), ("e", "e"), ("f", "f")]
    order, parts = meteor._split(pairs)
    assert [pairs[number] for number in order[:1]] == [("b", "Heart.")]
    assert sorted(order) == list(range(6))
    assert [part.normalise for part in parts] == [True, False, False]
    assert [len(part.pairs) for part in parts] == [2, 2, 2]
    # a process that normalises gets the texts as they are
    assert all(pair in pairs for pair in parts[0].pairs)
    assert {("x ray", "a")} <= {pair for part in parts for pair in part.pairs} or ("x-ray", "a") in parts[0].pairs


def test_a_formula_by_hand() -> None:
    # 4 words, 1 of them a function word, on both sides; 2 content words and the function word match, in 2 chunks
    row = np.zeros((1, 23))
    row[0, :8] = [4, 4, 1, 1, 2, 2, 1, 1]
    row[0, 20:] = [2, 3, 3]
    share = (0.75 * 2 + 0.25 * 1) / (0.75 * 3 + 0.25 * 1)
    assert corpus_meteor(row)[0] == pytest.approx(share * (1 - 0.6 * (2 / 3) ** 0.2))
    assert corpus_meteor(np.zeros((1, 23)))[0] == 0


def test_no_pairs_need_no_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meteor, "java_command", lambda *words: pytest.fail("started Java"))
    assert meteor_statistics([]).shape == (0, 23)


@needs_java
def test_a_program_that_answers_nonsense_is_an_error_without_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meteor_files, "write_paraphrases", lambda pieces, path: 0)
    monkeypatch.setattr(meteor, "java_command", lambda *words: ["cat"])
    with pytest.raises(JavaError, match=r"^METEOR stopped, or ran longer than 600 s$") as caught:
        meteor_statistics([("secret", "words")])
    assert caught.value.__cause__ is None
