import pytest

from trrg_core.metrics.r2gen_text import build_vocabulary, clean_r2gen, encode_r2gen

# R2Gen's cleaner to the byte, slips included; (report, as iu-xray, as mimic-cxr)
GOLDEN = [
    ("Lungs are clear. No effusion.", "lungs are clear . no effusion .", "lungs are clear . no effusion ."),
    ("A 1.5 cm nodule.", "a 15 cm nodule .", "a 15 cm nodule ."),
    ("Tube 3.2 cm above carina.", "tube 32 cm above carina .", "tube 32 cm above carina ."),
    ("Lungs clear.No effusion.", "lungs clearno effusion .", "lungs clearno effusion ."),
    ("s/p sternotomy", "sp sternotomy .", "sp sternotomy ."),
    ("", " .", " ."),
    (". ", " .", " ."),
    ("Clear. . Normal.", "clear .  . normal .", "clear .  . normal ."),
    ("Follow-up <5 mm = small", "follow-up 5 mm  small .", "follow-up 5 mm  small ."),
    ("1. Clear. 2. Normal. 6. Old.", "clear . normal . 6 . old .", "clear . normal . 6 . old ."),
    ("Level 10. Device.", "level 10 . device .", "level 10 . device ."),
    ("Seen by ___ today.", "seen by  today .", "seen by  today ."),
    ("XXXX year old", "xxxx year old .", "xxxx year old ."),
    ("Heart\n  normal", "heart\n  normal .", "heart normal ."),
]


@pytest.mark.parametrize(("report", "iu", "mimic"), GOLDEN)
def test_clean_r2gen_is_r2gens_cleaner_to_the_byte(report: str, iu: str, mimic: str):
    assert clean_r2gen(report, "iu-xray") == iu
    assert clean_r2gen(report, "mimic-cxr") == mimic


def test_long_runs_of_full_stops_shrink_only_as_far_as_the_passes_reach():
    # three passes leave 17 -> 9 -> 5 -> 3 dots, the sentence cleaner takes the rest; one word stays one sentence
    assert clean_r2gen("a" + "." * 17 + " b", "iu-xray") == "a . b ."


def test_a_reference_is_cut_to_59_or_99_words():
    report = " ".join(f"w{n}" for n in range(200))
    assert encode_r2gen(report, "iu-xray").split()[-1] == "w58"
    assert encode_r2gen(report, "mimic-cxr").split()[-1] == "w98"
    assert encode_r2gen(report, "iu-xray", max_words=60).split()[-1] == "w59"


def test_words_seen_too_rarely_in_training_turn_into_unk():
    train = ["heart normal."] * 3 + ["heart enlarged."] * 2
    vocabulary = build_vocabulary(train, "iu-xray")
    assert vocabulary == {"heart", "normal", "."}
    assert encode_r2gen("Heart enlarged.", "iu-xray", vocabulary=vocabulary) == "heart <unk> ."
