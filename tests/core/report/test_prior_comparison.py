import pytest

from trrg_core.report.prior_comparison import compares_with_prior

COMPARES = [
    "Compared to the prior study the effusion is larger.",
    "Cardiomegaly is unchanged.",
    "No significant change in the effusion.",
    "Stable cardiomediastinal contours.",
    "New right lower lobe opacity.",
    "The effusion has resolved.",
    "Interval placement of a left chest tube.",
    "Calcified granuloma is again seen.",
    "Persistent left basilar opacity.",
    "Edema has worsened since yesterday.",
    "The nodule is no longer visible.",
    "Opacities have increased.",
    "Prior sternotomy, unchanged.",
]
DESCRIBES = [
    "The heart is enlarged.",
    "The right hemidiaphragm is elevated.",
    "Increased interstitial markings.",
    "Lung volumes are decreased.",
    "Changes of prior median sternotomy.",
    "Previous granulomatous disease.",
    "The right lung is hyperlucent compared with the left.",
    "No focal consolidation, effusion or pneumothorax.",
    "Old healed rib fractures.",
    "Chronic scarring at the left base.",
]


@pytest.mark.parametrize("sentence", COMPARES)
def test_words_of_change_and_of_earlier_studies_compare(sentence: str):
    assert compares_with_prior(sentence)


@pytest.mark.parametrize("sentence", DESCRIBES)
def test_words_that_describe_one_image_or_the_history_do_not(sentence: str):
    assert not compares_with_prior(sentence)
