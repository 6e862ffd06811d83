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
    "The effusion has grown.",
    "The left effusion is slightly larger.",
    "The effusion is smaller than before.",
    "On the last radiograph there was an effusion.",
    "Versus the old film, the heart is bigger.",
    "A small effusion is still seen.",
    "The effusion is the same as yesterday.",
    "The lung has re-expanded.",
    "Reaccumulation of fluid on the left.",
    "The left base is better aerated.",
    "An infiltrate has developed at the base.",
    "The endotracheal tube has been withdrawn.",
    "Small residual right pneumothorax.",
    "Continued left effusion.",
    "Recurrent left effusion.",
    "Edema is clearing.",
    "The tip now projects over the cavoatrial junction.",
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
    "Bilateral effusions, right worse than left.",
    "The left effusion is larger than the right.",
    "The heart is larger than expected.",
    "There is a larger area of density on the right.",
    "The effusion is larger on the left.",
    "The remaining lungs are clear.",
    "The last rib is not seen.",
    "The right breast has been removed.",
    "If there is continued concern, consider a lateral view.",
    "A film in six weeks should ensure resolution of the pneumonia.",
    "The resolution of the image is limited.",
    "Minimal change of the lower spine.",
]


@pytest.mark.parametrize("sentence", COMPARES)
def test_words_of_change_and_of_earlier_studies_compare(sentence: str):
    assert compares_with_prior(sentence)


@pytest.mark.parametrize("sentence", DESCRIBES)
def test_words_that_describe_one_image_or_the_history_do_not(sentence: str):
    assert not compares_with_prior(sentence)
