"""Settings of the gate: what a challenger must show before it becomes the champion."""

from pydantic import Field

from trrg_core.config.section import ConfigSection


class GateConfig(ConfigSection):
    """Bounds of the gate. Differences are of the same studies, with intervals over resampled patients."""

    min_studies: int = Field(200, ge=1, description="Fewer test studies than this are insufficient evidence.")
    min_patients: int = Field(
        50,
        ge=2,
        description="Fewer test patients than this are insufficient evidence: intervals come from resampled patients.",
    )
    critical_findings: tuple[str, ...] = Field(
        ("Pneumothorax", "Pneumonia", "Edema"),
        description="Observations whose recall must not fall behind that of the champion.",
    )
    min_positives: int = Field(
        20, ge=1, description="Fewer positive references of a critical finding than this are insufficient evidence."
    )
    min_image_studies: int = Field(
        100, ge=0, description="Fewer studies written with changed images than this are insufficient evidence."
    )
    bootstrap_samples: int = Field(1000, ge=100, description="Number of resamples of patients behind each interval.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Confidence level of the intervals, two-sided.")
    min_f1_gain: float = Field(
        0.0,
        ge=-1,
        le=1,
        description="Micro-F1 without No Finding must exceed that of the modal report, the nearest neighbour and the "
        "empty report by more than this; the lower end of the interval decides.",
    )
    max_f1_below_clues: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Maximum drop of micro-F1 below the clues alone, without a text; the lower end decides.",
    )
    max_f1_drop: float = Field(
        0.02,
        ge=0,
        le=1,
        description="Maximum drop of micro-F1 below the champion and the best champion so far; the lower end decides.",
    )
    max_recall_drop: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Maximum drop of the recall of all critical findings together below the champion; the lower end "
        "decides. Of each below the clue labels; there the upper end decides.",
    )
    max_finding_recall_drop: float = Field(
        0.25,
        ge=0,
        le=1,
        description="Maximum drop of the recall of any other finding below the clue labels; the upper end decides.",
    )
    max_truth_drop: float = Field(
        0.02,
        ge=0,
        le=1,
        description="Maximum drop of the truth score, weighted by significance, below the champion; the lower end "
        "decides.",
    )
    min_image_gain: float = Field(
        0.02,
        ge=-1,
        le=1,
        description="The loss of micro-F1 with a grey image, noise, the image of another patient or a half-masked one "
        "must exceed this; the lower end of the interval decides.",
    )
    max_image_removed_share: float = Field(
        0.5, ge=0, le=1, description="Maximum share of reports that stay the same when the image is all grey."
    )
    min_parsed_share: float = Field(0.9, ge=0, le=1, description="Minimum share of reports that state any finding.")
    max_modal_share: float = Field(
        0.5, ge=0, le=1, description="Maximum share of reports that equal the most frequent generated one."
    )
    min_distinct_share: float = Field(
        0.05, ge=0, le=1, description="Minimum share of distinct reports among the generated ones."
    )
    max_length_ratio: float = Field(
        1.5,
        ge=1,
        description="Maximum number of words of the generated reports per word of the references: more are repetitions "
        "or filler.",
    )
    max_malformed_share: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Maximum share of reports that repeat a sentence or end within one, where the reference does not.",
    )
    max_unknown_words: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Maximum share of words that no reference has, above that of the nearest neighbour, a real report; "
        "the lower end decides.",
    )
    min_bleu1_ratio: float = Field(
        0.8, ge=0, description="Minimum BLEU-1 as a share of that of the modal report; the lower end decides."
    )
    min_side_agreement: float = Field(
        0.7,
        ge=0,
        le=1,
        description="Minimum share of stated sides that are those of the reference; the lower end decides.",
    )
    min_degree_agreement: float = Field(
        0.35,
        ge=0,
        le=1,
        description="Minimum share of stated degrees (slight, moderate, severe) that are those of the reference; the "
        "lower end decides.",
    )
    min_zone_agreement: float = Field(
        0.7,
        ge=0,
        le=1,
        description="Minimum share of stated zones of the lungs (upper, middle, lower) that share one with the "
        "reference's; the lower end decides.",
    )
    min_degree_gain: float = Field(
        0.0,
        ge=-1,
        le=1,
        description="Stated degrees must agree with the study's own reference more often than with the references of "
        "all studies that grade the finding, by more than this; the lower end decides.",
    )
    min_zone_gain: float = Field(
        0.0,
        ge=-1,
        le=1,
        description="The same of zones of the lungs: upper, middle, lower.",
    )
    min_sides_stated: float = Field(
        0.6,
        ge=0,
        le=1,
        description="Minimum share of the reference's sides that are stated, right or wrong, of the findings that both "
        "reports affirm; the lower end decides.",
    )
    min_degrees_stated: float = Field(
        0.5, ge=0, le=1, description="The same of its degrees (slight, moderate, severe); the lower end decides."
    )
    max_unsupported_positive_rate: float = Field(
        0.5, ge=0, le=1, description="Maximum share of affirmed findings that the clues do not show."
    )
    max_contradicted_negation_rate: float = Field(
        0.2, ge=0, le=1, description="Maximum share of denied findings that the clues show."
    )
    max_internal_contradiction_rate: float = Field(
        0.05, ge=0, le=1, description="Maximum share of reports that affirm and deny the same finding."
    )
    max_false_prior_rate: float = Field(
        0.3, ge=0, le=1, description="Maximum share of reports that compare with a prior that the study does not have."
    )
    max_hallucinated_rate: float = Field(
        0.4, ge=0, le=1, description="Maximum share of affirmed findings that the reference does not mention."
    )
    max_negation_flip_rate: float = Field(
        0.1, ge=0, le=1, description="Maximum share of stated findings of which the reference states the opposite."
    )
    max_hedged_rate: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Maximum share of stated findings that are doubted while the reference neither doubts nor affirms "
        "them.",
    )
    max_clue_ece: float = Field(
        0.1, ge=0, le=1, description="Maximum expected calibration error of the clues against the references."
    )
    max_measurement_rate: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Maximum share of reports with a measurement, which no film without a scale can give.",
    )
    max_identifier_rate: float = Field(
        0.02, ge=0, le=1, description="Maximum share of reports with what looks like personal data."
    )
