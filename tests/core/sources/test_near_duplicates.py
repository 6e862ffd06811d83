import random

import numpy as np
import pytest

from trrg_core.sources.near_duplicates import NearDuplicates, copies_of_train, find_near_duplicates, report_signature

WORDS = [f"{first}{second}{third}" for first in "bdfklm" for second in "aeiou" for third in "npqrst"]


def report(seed: int, length: int = 80) -> str:
    """Words in an order of its own."""
    return " ".join(random.Random(seed).choices(WORDS, k=length))


def shared(one: str, other: str) -> float:
    numbers = [np.frombuffer(report_signature(text), "<u4") for text in (one, other)]
    return float((numbers[0] == numbers[1]).mean())


def row(number: int, text: str, *, patient: int | None = None, split: str = "train") -> tuple[str, str, str, bytes]:
    return f"p{number if patient is None else patient}", f"s{number}", split, report_signature(text)


def test_case_digits_and_layout_do_not_matter() -> None:
    text = report(1)
    assert shared(text, f"1. {text.upper()},\n 12/03\n") == 1


def test_the_estimate_is_near_the_share_of_common_runs() -> None:
    # the first half in common: 58 of 178 runs of three, a Jaccard index of a third, give or take three deviations
    estimates = [
        shared(report(seed, 120), f"{' '.join(report(seed, 120).split()[:60])} {report(-seed - 1, 60)}")
        for seed in range(40)
    ]
    assert abs(np.mean(estimates) - 58 / 178) < 3 * np.sqrt(0.33 * 0.67 / 32 / 40)


def test_a_word_changed_is_a_near_duplicate_and_another_report_is_not() -> None:
    text = report(2, 120)
    near = text.replace(text.split()[50], "changed", 1)
    found = find_near_duplicates([row(1, text), row(2, near), row(3, report(3)), row(4, report(4))])
    assert found == NearDuplicates(groups=(("s1", "s2"),), num_reports=2, num_across_splits=0)


def test_what_one_patient_says_twice_is_no_leak() -> None:
    text = report(5)
    assert find_near_duplicates([row(1, text, patient=9), row(2, text, patient=9)]) == NearDuplicates()


def test_a_copy_in_another_split_is_counted_apart() -> None:
    rows = [row(1, report(6)), row(2, report(6), split="test"), row(3, report(7)), row(4, report(7))]
    found = find_near_duplicates(rows)
    assert (found.groups, found.num_reports, found.num_across_splits) == ((("s1", "s2"), ("s3", "s4")), 4, 2)


def test_copies_of_train_are_the_studies_of_other_splits_in_its_groups() -> None:
    rows = [
        row(1, report(6)),
        row(2, report(6), split="test"),
        row(3, report(6), split="validate"),
        row(4, report(7), split="test"),
        row(5, report(7), split="validate"),  # alike, but not in train
        row(6, report(8)),
        row(7, report(8)),
        row(8, report(9), split="test"),
    ]
    assert copies_of_train(rows) == {"s2", "s3"}
    assert copies_of_train([]) == frozenset()


def test_a_group_of_many_copies_is_one_whatever_the_order() -> None:
    rows = [row(number, report(8)) for number in range(60)] + [row(number, report(number)) for number in range(60, 90)]
    found = find_near_duplicates(rows)
    random.Random(0).shuffle(rows)
    assert find_near_duplicates(rows) == found
    assert [len(group) for group in found.groups] == [60]


@pytest.mark.parametrize("text", ["", "   ", "Clear.", "___ 12"])
def test_a_text_of_few_words_has_a_signature_too(text: str) -> None:
    assert len(report_signature(text)) == 128
    assert shared(text, text) == 1


def test_no_reports_have_no_duplicates() -> None:
    assert find_near_duplicates([]) == NearDuplicates()
