"""The configuration: one frozen tree of small pydantic sections; each field has a description, a unit and bounds."""

import re
from typing import Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from trrg_core.config.data_settings import IngestConfig, ParseConfig, PlainConfig, ShardConfig, SourceConfig
from trrg_core.config.finetune_settings import FinetuneConfig, LoraSettings
from trrg_core.config.gate_settings import GateConfig
from trrg_core.config.section import ConfigSection, check_no_credentials
from trrg_core.config.training_settings import (
    EncoderConfig,
    EngineConfig,
    OptimizerConfig,
    PerceptionGateConfig,
    PretrainConfig,
)

__all__ = [
    "ConfigSection",
    "EncoderConfig",
    "EngineConfig",
    "EvaluateConfig",
    "FinetuneConfig",
    "GateConfig",
    "GenerateConfig",
    "IngestConfig",
    "LoraSettings",
    "OptimizerConfig",
    "ParseConfig",
    "PerceptionGateConfig",
    "PlainConfig",
    "PretrainConfig",
    "RayConfig",
    "RegisterConfig",
    "ShardConfig",
    "SourceConfig",
    "TrrgConfig",
]


_ON_A_SERVER = re.compile(r"(?:https?|(?:postgresql|mysql|mssql)(?:\+\w{1,30})?)://[^/?#\s]", re.IGNORECASE)


class GenerateConfig(ConfigSection):
    """Decoding. There is no minimum length and no repetition penalty: both add invented findings to a normal report."""

    split: Literal["validate", "test"] = Field("test", description="Split for which reports are generated.")
    batch_size: int = Field(16, ge=1, description="Number of studies decoded together.")
    num_beams: int = Field(1, ge=1, description="Number of beams; 1 is greedy decoding.")
    max_new_tokens: int = Field(160, ge=1, description="Maximum length of a generated report, tokens.")
    clue_shift: float = Field(
        0.0,
        description="Added to the log odds of every perceived clue as the LLM reads it: above 0 for recall, below 0 "
        "for precision.",
    )
    clue_sharpness: float = Field(
        1.0,
        gt=0,
        description="Factor on the certainty of every perceived clue and its side as the LLM reads them: above 1 for "
        "perception that is less certain of new studies than of those it was trained on.",
    )
    target_precision: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Precision of the clues on `validate` for which `clue_shift` is chosen, 0 to 1; 0: not chosen.",
    )
    target_recall: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Recall of the clues on `validate` for which `clue_shift` is chosen, 0 to 1; 0: not chosen.",
    )
    abstain_below: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Findings whose clue decides rightly with a probability below this are said to be beyond "
        "assessment, 0 to 1; 0 never abstains.",
    )
    check_margin: float | None = Field(
        None,
        ge=0,
        description="Revise a report where it contradicts a clue that is more than this beyond its threshold, log "
        "odds: one that shows a finding that the report does not affirm, or the other way round. Without a value "
        "reports are not checked.",
    )
    withhold_above: float | None = Field(
        1.5,
        ge=1,
        description="Write no report of an image whose deviation from the images of training is above this, where 1 is "
        "the limit from which it is marked as unusual, nor of an unusual one that would be usual if it were rotated or "
        "inverted. Without a value a report is written of any image. Only `trrg generate` and `trrg serve` look at it.",
    )
    guidance: float = Field(
        0.0,
        ge=0,
        description="How far decoding moves from what is written without clues, to follow the clues more; 0 is plain "
        "decoding. Doubles the cost.",
    )
    denied_guidance: float = Field(
        1.0,
        ge=0,
        description="As guidance, where a person denies a finding, if it is stronger: what the image shows is the "
        "hardest to unsay.",
    )
    revise: bool = Field(
        True,
        description="With clues that a person gives, keep the report of the perceived clues and replace only what it "
        "says of the given findings; false writes it anew.",
    )
    candidates: int = Field(
        1,
        ge=1,
        description="Number of candidate reports per study; the one that agrees best with the clues is selected.",
    )
    temperature: float = Field(1.0, gt=0, description="Sampling temperature of the candidates.")
    min_share: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="Minimum probability of a sampled token, as a share of that of the most probable one.",
    )
    writer_share: float = Field(
        0.33,
        ge=0,
        le=1,
        description="Weight of the agreement with the other candidates, against the agreement with the clues, 0 to 1.",
    )
    likelihood_weight: float = Field(1.0, ge=0, description="Weight of the mean token log probability of a candidate.")

    @model_validator(mode="after")
    def _check_search(self) -> Self:
        if self.candidates > 1 and self.num_beams > 1:
            raise ValueError("candidates are sampled, which excludes beam search: set num_beams or candidates to 1")
        if self.guidance and self.num_beams > 1:
            raise ValueError("guidance excludes beam search: set num_beams to 1 or guidance to 0")
        chosen = [self.target_precision > 0, self.target_recall > 0, self.clue_shift != 0]
        if sum(chosen) > 1:
            raise ValueError("clue_shift, target_precision and target_recall choose the same thing: set one of them")
        return self

    def for_denied_findings(self) -> Self:
        """The decoding of studies of which a person denies a finding; beam search has no guidance."""
        strength = 0.0 if self.num_beams > 1 else max(self.guidance, self.denied_guidance)
        return self.model_copy(update={"guidance": strength})


class EvaluateConfig(ConfigSection):
    """Scores of a predictions table."""

    meteor: bool = Field(True, description="Compute METEOR 1.5 (starts a Java process).")
    bootstrap_samples: int = Field(
        1000,
        ge=0,
        description="Number of bootstrap resamples, clustered by patient, for confidence intervals; 0 for none.",
    )
    report_studies: int = Field(60, ge=1, description="Number of studies shown in the HTML report.")
    report_heat_maps: int = Field(
        4,
        ge=0,
        le=14,
        description="Maximum number of heat maps per study of the HTML report: of the findings that the clues show, "
        "of the likeliest one if they show none; 0 for none.",
    )
    slices: tuple[str, ...] = Field(
        (),
        description="Further slices of the test studies to score, each an SQL predicate: `view_position = 'AP' AND "
        "age_years > 60`. Columns: study_id, subject_id, view_position, sex, age_years, has_prior, reference_words, "
        "hypothesis_words, and each finding (`pneumothorax`), true where the reference affirms it.",
    )
    image_studies: int = Field(
        200,
        ge=0,
        description="Maximum number of studies that are also written with changed images (grey, noise, of another "
        "patient, half masked), one greedy draft each, to see whether the model looks at the image; 0 for none.",
    )


class RegisterConfig(GateConfig):
    """The model registry, and the gate that a challenger must pass to become the champion.

    Differences are of the same studies, with intervals over resampled patients.
    """

    model_name: str = Field("trrg", pattern=r"^[A-Za-z0-9_.-]+$", description="Name of the registered model.")
    tracking_uri: str = Field(
        "",
        description="URI of the MLflow server (http, https) or of its database (postgresql, mysql, mssql); if empty, a "
        "SQLite registry in the store is used.",
    )
    golden_output: bool = Field(
        True,
        description="Store what the model writes for one drawn film, which `trrg verify` writes again. It loads the "
        "model where `register` runs: false for a model too large for that machine.",
    )
    override: str = Field(
        "",
        description="Reason of a person to promote the model whatever the gate says; it is kept in the record. For one "
        "registration only: `trrg register --override`.",
    )

    _uri_is_public = field_validator("tracking_uri")(check_no_credentials)

    @field_validator("tracking_uri")
    @classmethod
    def _is_on_a_server(cls, uri: str) -> str:
        # a run may be started by a form: it makes or opens no other file of its user as a registry
        if uri and not _ON_A_SERVER.match(uri):
            raise PydanticCustomError(
                "registry_address",
                "expected http(s)://HOST or postgresql://HOST/NAME (mysql, mssql); if empty, the registry is a file of "
                "the store",
            )
        return uri


class RayConfig(ConfigSection):
    """Connection of the jobs to a Ray cluster."""

    address: str = Field("", description="Ray address (`auto`, `ray://...`); if empty, a local cluster is started.")
    jobs_address: str = Field(
        "",
        description="Ray Jobs API to which jobs are submitted (http://head:8265); if empty, jobs run in this process.",
    )
    local_cpus: int = Field(4, ge=2, description="Number of logical CPUs of a local cluster.")
    object_store_mb: int = Field(512, ge=80, description="Object store size of a local cluster, MiB.")

    stall_minutes: float = Field(
        45,
        gt=0,
        description="Time without a training step or a batch of a data stage after which the stage fails and names the "
        "cause, minutes; longer than `engine.collective_timeout_s`, after which workers start again.",
    )

    _addresses_are_public = field_validator("address", "jobs_address")(check_no_credentials)


class TrrgConfig(ConfigSection):
    """All settings of a retraining run. Secrets are never fields: they come from the environment."""

    seed: int = Field(7, ge=0, lt=2**32, description="Seed of all random numbers.")
    source: SourceConfig = SourceConfig()
    ingest: IngestConfig = IngestConfig()
    parse: ParseConfig = ParseConfig()
    shard: ShardConfig = ShardConfig()
    pretrain: PretrainConfig
    perception_gate: PerceptionGateConfig = PerceptionGateConfig()
    finetune: FinetuneConfig
    engine: EngineConfig = EngineConfig()
    generate: GenerateConfig = GenerateConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    register_: RegisterConfig = Field(RegisterConfig(), alias="register")
    ray: RayConfig = RayConfig()

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)
