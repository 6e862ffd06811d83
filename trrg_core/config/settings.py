"""The settings: one frozen tree of small pydantic sections, each field with its description, unit and bounds."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError


class ConfigSection(BaseModel):
    """A frozen part of the configuration; an unknown key is an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


_CREDENTIALS = re.compile(r"(?:https?|s3)://[^/?#]*@|[\w+.-]+://[^/?#@]*:[^/?#]*@", re.IGNORECASE)


def _without_credentials(uri: str) -> str:
    # every run folder and every commit keeps the configuration, and the Prefect UI shows it
    if _CREDENTIALS.match(uri.strip()):
        raise PydanticCustomError("credentials", "must not carry credentials: they come from the environment")
    return uri


class PlainConfig(ConfigSection):
    """A hospital's own export: one table, one row per radiograph. An empty column name: there is no such column."""

    table: str = Field("", description="CSV, TSV or Parquet (or .gz of these), relative to the root.")
    image_path: str = Field("{image}", description="Path of a row's image; {name} is the value of column `name`.")
    report_column: str = Field("report", description="Column with the report's text.")
    report_path_column: str = Field("", description="Column with the path of a text file instead.")
    patient_column: str = Field("patient", description="Column that names the patient.")
    study_column: str = Field("", description="Column that names the study; without it each row is a study.")
    split_column: str = Field("", description="Column with train, validate or test.")
    view_column: str = Field("", description="Column with the view position.")
    date_column: str = Field("", description="Column with the study's date, YYYYMMDD or YYYY-MM-DD.")
    time_column: str = Field("", description="Column with the study's time, HHMMSS or HH:MM:SS.")
    sex_column: str = Field("", description="Column with the patient's sex: F or M, female or male.")
    age_column: str = Field("", description="Column with the patient's age at the study, years.")


class SourceConfig(ConfigSection):
    """Where studies come from. The source is only ever read."""

    kind: Literal["mimic-cxr", "iu-xray", "plain"] = Field("mimic-cxr", description="Reader of the source tree.")
    root: str = Field("", description="Folder or s3:// prefix of the source tree.")
    max_studies: int = Field(0, ge=0, description="Read only this many studies; 0 reads all.")
    validate_share: float = Field(0.1, ge=0, lt=1, description="Share of patients for `validate` without a split.")
    test_share: float = Field(0.1, ge=0, lt=1, description="Share of patients for `test` without a split.")
    on_missing_split: Literal["hash", "reject"] = Field(
        "hash", description="A patient the source's split does not name: hashed into one, or set aside."
    )
    iu_form: Literal["auto", "xml", "kaggle", "r2gen"] = Field(
        "auto", description="Which form of IU-Xray to read; auto takes the first found."
    )
    image_folder: str = Field("", description="Folder of IU-Xray's images; empty looks for it and counts the missing.")
    plain: PlainConfig = PlainConfig()

    _root_is_public = field_validator("root")(_without_credentials)


class IngestConfig(ConfigSection):
    """How images are checked and kept."""

    max_side_px: int = Field(512, ge=32, le=4096, description="Longest side of the kept image, pixels.")
    jpeg_quality: int = Field(90, ge=50, le=100, description="JPEG quality of the kept image.")
    max_pixels: int = Field(100_000_000, ge=1, description="Images whose header claims more are refused undecoded.")
    max_reject_share: float = Field(0.2, ge=0, le=1, description="Stop when a larger share of studies is set aside.")
    max_reject_share_by_reason: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=dict,
        description="Stop when a reason touches a larger share of studies, by reason, e.g. {jpeg_corrupt: 0.01}.",
    )
    max_file_bytes: int = Field(268_435_456, ge=1, description="Larger image files are set aside unread, bytes.")
    max_report_bytes: int = Field(65_536, ge=1, description="Longer reports are set aside, bytes.")
    on_bad_encoding: Literal["reject", "cp1252"] = Field(
        "reject", description="A report that is not UTF-8: set aside, or read as Windows-1252 with a flag."
    )


class ParseConfig(ConfigSection):
    """How reports are read."""

    label_set: str = Field("chexpert14", description="Observations to label: a shipped set or a YAML path.")
    spacy_model: str = Field("", description="Path of a trained scispaCy model that widens recall; empty: none.")
    spacy_model_sha256: str = Field("", description="SHA-256 that the model folder must have.")


class ShardConfig(ConfigSection):
    """How training shards are cut."""

    section: Literal["findings", "impression", "findings+impression"] = Field(
        "findings", description="Report section that the generator learns to write."
    )
    max_side_px: int = Field(256, ge=32, le=4096, description="Longest side of the training image, pixels.")
    rows_per_file: int = Field(2048, ge=1, description="Studies in one Parquet shard.")


class EngineConfig(ConfigSection):
    """The training engine both stages share: Ray Train workers, DeepSpeed ZeRO, checkpoints."""

    num_workers: int = Field(2, ge=1, description="Ray Train workers, one process each.")
    use_gpu: bool = Field(False, description="One GPU a worker; false trains on CPU.")
    zero_stage: int = Field(2, ge=0, le=3, description="DeepSpeed ZeRO stage.")
    offload_optimizer: bool = Field(False, description="Keep optimizer state in CPU memory (ZeRO, GPU only).")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="Number format of the weights.")
    gradient_checkpointing: bool = Field(False, description="Trade compute for memory in the LLM.")
    max_failures: int = Field(2, ge=0, description="Worker failures survived before the run is given up.")
    checkpoint_every_steps: int = Field(200, ge=1, description="Optimizer steps between two checkpoints.")
    keep_checkpoints: int = Field(2, ge=1, description="Newest checkpoints kept.")
    log_every_steps: int = Field(10, ge=1, description="Steps between two progress lines.")
    clip_norm: float = Field(1.0, gt=0, description="Gradient norm is clipped to this.")
    max_bad_steps: int = Field(5, ge=1, description="Consecutive non-finite losses survived before stopping.")
    collective_timeout_s: int = Field(1800, ge=30, description="A collective that takes longer fails the worker.")


class OptimizerConfig(ConfigSection):
    """AdamW with linear warm-up and cosine decay to zero."""

    learning_rate: float = Field(1.0e-4, gt=0, description="Peak learning rate.")
    weight_decay: float = Field(0.01, ge=0, description="Decoupled weight decay.")
    warmup_share: float = Field(0.05, ge=0, lt=1, description="Share of the steps that warm up.")


class EncoderConfig(ConfigSection):
    """A backbone: pretrained by name or path, or built from a config class (`model_type` and values)."""

    pretrained: str = Field("", description="Hugging Face name or folder; empty builds from `config`.")
    config: dict[str, Any] = Field(default_factory=dict, description="Values of the config class, with `model_type`.")
    freeze: bool = Field(False, description="Keep the backbone's weights as they are.")

    @model_validator(mode="after")
    def _is_buildable(self) -> Self:
        if not self.pretrained and "model_type" not in self.config:
            raise ValueError("either `pretrained` or `config.model_type` must be set")
        return self


class PretrainConfig(ConfigSection):
    """Stage 1: disease-focused, sentence-level contrastive pre-training and calibrated disease perception."""

    image_encoder: EncoderConfig = Field(description="Backbone of the radiographs.")
    text_encoder: EncoderConfig = Field(description="Backbone of single sentences.")
    image_size_px: int = Field(224, ge=32, description="Side of the square the encoder sees, pixels.")
    max_views: int = Field(2, ge=1, le=8, description="Radiographs used per study.")
    pixel_mean: float = Field(0.5, description="Mean that pixels (0 to 1) are centred by.")
    pixel_std: float = Field(0.5, gt=0, description="Deviation that pixels (0 to 1) are scaled by.")
    joint_size: int = Field(256, ge=8, description="Width D of the joint space.")
    sentences_per_study: int = Field(6, ge=1, description="Sentences drawn per study and step.")
    max_sentence_tokens: int = Field(48, ge=8, description="Longer sentences are cut.")
    vocabulary_size: int = Field(4000, ge=100, description="Tokens of a tokenizer trained on the corpus.")
    temperature: float = Field(0.07, gt=0, description="Initial softmax temperature; learned from there.")
    local_weight: float = Field(1.0, ge=0, description="Weight of sentence-to-patch alignment.")
    hard_negative_weight: float = Field(1.0, ge=0, description="Weight of negated twins as hard negatives.")
    max_negated_share: float = Field(0.5, gt=0, le=1, description="Cap on negated sentences of a draw.")
    prompt_share: float = Field(
        0.34, ge=0, le=1, description="Share of a draw that are disease prompts which the study's labels state."
    )
    silence_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of denying prompts drawn for findings that the report passes over, which are mostly absent.",
    )
    batch_size: int = Field(32, ge=2, description="Studies per worker and step.")
    epochs: float = Field(10, gt=0, description="Passes over the training studies.")
    optimizer: OptimizerConfig = OptimizerConfig()
    augment: bool = Field(True, description="Small shifts, scale and exposure; never flips (they swap left and right).")


class LoraSettings(ConfigSection):
    """Low-rank adapters of the LLM (peft)."""

    rank: int = Field(16, ge=1, description="Rank of the adapters.")
    alpha: int = Field(32, ge=1, description="Scale of the adapters.")
    dropout: float = Field(0.05, ge=0, lt=1, description="Dropout in the adapters.")
    train_embeddings: bool = Field(False, description="Also train input and output embeddings (models built here).")


class FinetuneConfig(ConfigSection):
    """Stage 2: an LLM with LoRA, injected clues, cross-modal clue interaction, disease-aware consistency."""

    llm: EncoderConfig = Field(description="The causal language model.")
    lora: LoraSettings = LoraSettings()
    vocabulary_size: int = Field(4000, ge=100, description="Tokens of a tokenizer trained on the corpus.")
    prompt: str = Field("Write the findings of this chest radiograph.", description="Instruction before the report.")
    max_report_tokens: int = Field(160, ge=8, description="Longer reports are cut in training.")
    clues: Literal["on", "off", "oracle", "shuffled"] = Field("on", description="Where disease clues come from.")
    interaction: bool = Field(True, description="Cross-modal clue interaction.")
    consistency: bool = Field(True, description="Disease-aware consistency loss.")
    consistency_weight: float = Field(0.5, ge=0, description="Weight of that loss.")
    clue_dropout: float = Field(0.15, ge=0, le=1, description="Share of clues hidden in training.")
    clue_noise: float = Field(
        0.0, ge=0, description="Deviation of noise on clue logits in training: clues of seen studies are too sure."
    )
    interaction_size: int = Field(512, ge=8, description="Width of clue and visual tokens before the LLM.")
    interaction_layers: int = Field(2, ge=1, description="Cross-attention blocks.")
    interaction_heads: int = Field(8, ge=1, description="Attention heads in a block.")
    grid_size: int = Field(4, ge=1, description="Pooled visual grid is this many cells a side.")
    augment: bool = Field(True, description="Small shifts, scale and exposure of the radiographs; never flips.")
    batch_size: int = Field(8, ge=1, description="Studies per worker and step.")
    epochs: float = Field(3, gt=0, description="Passes over the training studies.")
    optimizer: OptimizerConfig = OptimizerConfig()

    @field_validator("clues", mode="before")
    @classmethod
    def _undo_yaml_booleans(cls, value: object) -> object:
        return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value


class GenerateConfig(ConfigSection):
    """Decoding. No forced length and no repetition penalty: padding a normal report invents findings."""

    split: Literal["validate", "test"] = Field("test", description="Split to generate for.")
    batch_size: int = Field(16, ge=1, description="Studies decoded together.")
    num_beams: int = Field(1, ge=1, description="Beams; 1 is greedy.")
    max_new_tokens: int = Field(160, ge=8, description="Longest generated report, tokens.")
    candidates: int = Field(1, ge=1, description="Drafts of a study; the one that agrees best with its clues is kept.")
    temperature: float = Field(1.0, gt=0, description="Temperature at which drafts are drawn.")
    min_share: float = Field(0.05, ge=0, lt=1, description="Never draw tokens below this share of the likeliest.")
    writer_share: float = Field(0.33, ge=0, le=1, description="Weight of what most drafts state, beside the clues.")
    likelihood_weight: float = Field(1.0, ge=0, description="Weight of a draft's mean token log probability.")

    @model_validator(mode="after")
    def _check_search(self) -> Self:
        if self.candidates > 1 and self.num_beams > 1:
            raise ValueError("candidates are drawn, not searched for with beams: set num_beams or candidates to 1")
        return self


class EvaluateConfig(ConfigSection):
    """Scores of a predictions table."""

    meteor: bool = Field(True, description="METEOR 1.5 (starts a Java process).")
    bootstrap_samples: int = Field(1000, ge=0, description="Resamples, clustered by patient, for intervals.")
    report_studies: int = Field(60, ge=1, description="Studies shown in the HTML report.")


class RegisterConfig(ConfigSection):
    """The registry and the gate a challenger must pass to become champion."""

    model_name: str = Field("trrg", pattern=r"^[A-Za-z0-9_.-]+$", description="Registered model name.")
    tracking_uri: str = Field("", description="MLflow server; empty keeps a SQLite registry in the store.")
    min_f1_gain: float = Field(
        0.0, ge=-1, le=1, description="Clinical micro-F1 above the better floor, more than this."
    )
    max_f1_drop: float = Field(0.01, ge=0, le=1, description="Clinical micro-F1 below the champion, at most.")
    min_distinct_share: float = Field(0.05, ge=0, le=1, description="Share of distinct generated reports, at least.")

    _uri_is_public = field_validator("tracking_uri")(_without_credentials)


class RayConfig(ConfigSection):
    """How jobs reach a Ray cluster."""

    address: str = Field("", description="Ray address (`auto`, `ray://`...); empty starts a local one.")
    jobs_address: str = Field(
        "", description="Ray Jobs API (http://head:8265): each job runs there as a Ray Job; empty runs jobs here."
    )
    local_cpus: int = Field(4, ge=2, description="Logical CPUs of a local cluster.")
    object_store_mb: int = Field(512, ge=80, description="Object store of a local cluster, MiB.")

    _addresses_are_public = field_validator("address", "jobs_address")(_without_credentials)


class TrrgConfig(ConfigSection):
    """Everything a retraining run depends on. Secrets are never fields: they come from the environment."""

    seed: int = Field(7, ge=0, description="Seed of every random choice.")
    source: SourceConfig = SourceConfig()
    ingest: IngestConfig = IngestConfig()
    parse: ParseConfig = ParseConfig()
    shard: ShardConfig = ShardConfig()
    pretrain: PretrainConfig
    finetune: FinetuneConfig
    engine: EngineConfig = EngineConfig()
    generate: GenerateConfig = GenerateConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    register_: RegisterConfig = Field(RegisterConfig(), alias="register")
    ray: RayConfig = RayConfig()

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)
