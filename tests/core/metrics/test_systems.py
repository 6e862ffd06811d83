import json

import pytest

from trrg_core.labels import LabelSet, load_label_set
from trrg_core.metrics.systems import (
    FIVE_FAMILY,
    FLOORS,
    System,
    TruthRate,
    clinical_score,
    family_name,
    findings_family,
    headline,
    metric_key,
    observation_sets,
    parse_metric_key,
    scores_by_system,
)

CHEXPERT, NIH = load_label_set("chexpert14"), load_label_set("nih14")


def test_the_family_names_our_labeler_and_the_label_set():
    assert family_name(CHEXPERT) == "trrg14"
    assert family_name(NIH) == "trrg-nih14"


def test_the_five_are_a_family_of_their_own_where_the_label_set_has_them():
    assert list(observation_sets(CHEXPERT)) == ["trrg14", "trrg13", FIVE_FAMILY]
    two = LabelSet(name="two", observations=("Edema", "Fracture"), findings={})
    assert observation_sets(two) == {"trrg-two": ("Edema", "Fracture")}


def test_the_family_of_findings_has_no_no_finding():
    for label_set, family in ((CHEXPERT, "trrg13"), (NIH, "trrg-nih14-findings")):
        assert findings_family(label_set) == family
        assert set(label_set.observations) - set(observation_sets(label_set)[family]) == {"No Finding"}


def test_the_headline_is_the_one_of_the_label_set():
    assert headline(CHEXPERT)[:4] == tuple(
        f"{name}.f1.u0" for name in ("trrg13.micro", "trrg13.macro", "trrg14.micro", "trrg5.micro")
    )
    assert headline(NIH)[:3] == tuple(
        f"trrg-nih14{name}.f1.u0" for name in ("-findings.micro", "-findings.macro", ".micro")
    )
    assert headline(CHEXPERT)[4:] == headline(NIH)[-8:]
    assert headline(CHEXPERT)[-3:] == tuple(
        f"truth.{name}" for name in ("distinct_share", "unsupported_positive_rate", "contradicted_negation_rate")
    )


# result.json of stores that exist already has these keys
@pytest.mark.parametrize(
    ("system", "key"),
    [
        (System.MODEL, "trrg14.micro.f1.u0"),
        (System.MODAL_REPORT, "modal_report/trrg14.micro.f1.u0"),
        (System.NEAREST_NEIGHBOUR, "nearest_neighbour/trrg14.micro.f1.u0"),
        (System.CLUE_TEMPLATE, "clue_template/trrg14.micro.f1.u0"),
        (System.CHAMPION, "champion/trrg14.micro.f1.u0"),
    ],
)
def test_a_metric_key_is_built_and_parsed_by_one_pair(system: System, key: str):
    assert metric_key(system, clinical_score("trrg14")) == key
    assert parse_metric_key(key) == (system, "trrg14.micro.f1.u0")


def test_an_unknown_system_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="expected one of model, modal_report, nearest_neighbour, clue_template"):
        parse_metric_key("oracle/bleu4.full")


def test_scores_are_grouped_by_system_in_the_order_of_tables():
    metrics = {"nearest_neighbour/bleu4.full": 0.3, "modal_report/bleu4.full": 0.2, "bleu4.full": 0.4}
    grouped = scores_by_system(metrics)
    assert grouped == {
        System.MODEL: {"bleu4.full": 0.4},
        System.MODAL_REPORT: {"bleu4.full": 0.2},
        System.NEAREST_NEIGHBOUR: {"bleu4.full": 0.3},
    }
    assert list(grouped) == [System.MODEL, *FLOORS]


def test_names_are_plain_words_in_json_and_text():
    assert json.dumps({TruthRate.DISTINCT_SHARE: System.MODAL_REPORT}) == '{"truth.distinct_share": "modal report"}'
    assert f"{System.MODAL_REPORT} {TruthRate.FALSE_PRIOR}" == "modal report truth.false_prior_rate"
