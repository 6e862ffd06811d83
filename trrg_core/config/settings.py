"""The configuration: one frozen tree of small pydantic sections; each field has a description, a unit and bounds."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError


class ConfigSection(BaseModel):
    """A frozen section of the configuration; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


_CREDENTIALS = re.compile(r"(?:https?|s3)://[^/?#]*@|[\w+.-]+://[^/?#@]*:[^/?#]*@", re.IGNORECASE)


def _without_credentials(uri: str) -> str:
    # the configuration is stored in every run folder and commit, and shown in the Prefect UI
    if _CREDENTIALS.match(uri.strip()):
        raise PydanticCustomError("credentials", "must not contain credentials: they come from the environment")
    return uri


class PlainConfig(ConfigSection):
    """A hospital's own export: one table, one row per radiograph. An empty name: no such column."""

    table: str = Field(
        "", description="Table file, CSV, TSV or Parquet; CSV and TSV may be gzipped. Relative to `source.root`."
    )
    image_path: str = Field(
        "{image}", description="Path of the image of a row; {name} stands for the value of column `name`."
    )
    report_column: str = Field("report", description="Column with the text of the report.")
    report_path_column: str = Field(
        "", description="Column with the path of a report file; used instead of `report_column`."
    )
    patient_column: str = Field("patient", description="Column with the id of the patient.")
    study_column: str = Field("", description="Column with the id of the study; if empty, each row is one study.")
    split_column: str = Field("", description="Column with the split: train, validate or test.")
    view_column: str = Field("", description="Column with the view position.")
    date_column: str = Field("", description="Column with the date of the study, YYYYMMDD or YYYY-MM-DD.")
    time_column: str = Field("", description="Column with the time of the study, HHMMSS or HH:MM:SS.")
    sex_column: str = Field("", description="Column with the sex of the patient: F or M, female or male.")
    age_column: str = Field("", description="Column with the age of the patient at the study, years.")


class SourceConfig(ConfigSection):
    """The source of studies. It is only read, never changed."""

    kind: Literal["mimic-cxr", "iu-xray", "plain"] = Field("mimic-cxr", description="Format of the source tree.")
    root: str = Field("", description="Folder or s3:// prefix of the source tree.")
    max_studies: int = Field(0, ge=0, description="Maximum number of studies to read; 0 reads all.")
    validate_share: float = Field(
        0.1, ge=0, lt=1, description="Share of patients assigned to `validate` when the source has no split, 0 to 1."
    )
    test_share: float = Field(
        0.1, ge=0, lt=1, description="Share of patients assigned to `test` when the source has no split, 0 to 1."
    )
    on_missing_split: Literal["hash", "reject"] = Field(
        "hash", description="Patients without a split in the source: assigned by a hash of the id, or set aside."
    )
    iu_form: Literal["auto", "xml", "kaggle", "r2gen"] = Field(
        "auto", description="Form of IU-Xray to read; auto reads the first one that exists."
    )
    image_folder: str = Field("", description="Folder of the IU-Xray images; if empty, the usual folders are searched.")
    plain: PlainConfig = PlainConfig()

    _root_is_public = field_validator("root")(_without_credentials)


class IngestConfig(ConfigSection):
    """Checks of images and reports, and the form in which images are stored."""

    max_side_px: int = Field(512, ge=32, le=4096, description="Maximum long side of a stored image, pixels.")
    jpeg_quality: int = Field(90, ge=50, le=100, description="JPEG quality of a stored image, 50 to 100.")
    max_pixels: int = Field(
        100_000_000, ge=1, description="Maximum size of an image by its header, pixels; larger images are not decoded."
    )
    max_reject_share: float = Field(
        0.2, ge=0, le=1, description="The run stops when a larger share of studies is set aside, 0 to 1."
    )
    max_reject_share_by_reason: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        default_factory=dict,
        description="The same limit per reason, e.g. {jpeg_corrupt: 0.01}; shares of all studies, 0 to 1.",
    )
    max_file_bytes: int = Field(
        268_435_456,
        ge=1,
        description="Maximum size of an image file, bytes; larger files are set aside without being read.",
    )
    max_report_bytes: int = Field(
        65_536, ge=1, description="Maximum size of a report, bytes; longer reports are set aside."
    )
    on_bad_encoding: Literal["reject", "cp1252"] = Field(
        "reject", description="Reports that are not UTF-8: set aside, or read as Windows-1252 and flagged."
    )


class ParseConfig(ConfigSection):
    """Parsing of reports."""

    label_set: str = Field(
        "chexpert14", description="Label set: the name of an included set, or the path of a YAML file."
    )
    spacy_model: str = Field(
        "", description="Path of a trained scispaCy model that adds mentions to those of the rules; empty for none."
    )
    spacy_model_sha256: str = Field("", description="Expected SHA-256 of the model folder, hexadecimal.")


class ShardConfig(ConfigSection):
    """Training shards."""

    section: Literal["findings", "impression", "findings+impression"] = Field(
        "findings", description="Report section that the generator is trained to write."
    )
    max_side_px: int = Field(256, ge=32, le=4096, description="Maximum long side of a training image, pixels.")
    rows_per_file: int = Field(2048, ge=1, description="Number of studies per Parquet file.")


class EngineConfig(ConfigSection):
    """The training engine of both stages: Ray Train workers, DeepSpeed ZeRO, checkpoints."""

    num_workers: int = Field(2, ge=1, description="Number of Ray Train workers, one process each.")
    use_gpu: bool = Field(False, description="Use one GPU per worker; false trains on CPU.")
    zero_stage: int = Field(2, ge=0, le=3, description="DeepSpeed ZeRO stage, 0 to 3.")
    offload_optimizer: bool = Field(False, description="Keep the optimizer state in CPU memory (ZeRO with GPU only).")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="Number format of the weights.")
    gradient_checkpointing: bool = Field(
        False, description="Recompute activations of the LLM in the backward pass, which saves memory."
    )
    max_failures: int = Field(2, ge=0, description="Maximum number of worker failures; after more, the run fails.")
    checkpoint_every_steps: int = Field(200, ge=1, description="Interval between two checkpoints, optimizer steps.")
    keep_checkpoints: int = Field(2, ge=1, description="Number of checkpoints to keep, the newest ones.")
    log_every_steps: int = Field(10, ge=1, description="Interval between two progress lines, optimizer steps.")
    clip_norm: float = Field(1.0, gt=0, description="Maximum norm of the gradient; larger gradients are clipped.")
    max_bad_steps: int = Field(
        5, ge=1, description="Number of consecutive steps with a non-finite loss after which training stops."
    )
    collective_timeout_s: int = Field(
        1800, ge=30, description="Timeout of a collective operation, seconds; after it the worker fails."
    )


class OptimizerConfig(ConfigSection):
    """AdamW with linear warm-up and cosine decay to zero."""

    learning_rate: float = Field(1.0e-4, gt=0, description="Peak learning rate.")
    weight_decay: float = Field(0.01, ge=0, description="Decoupled weight decay coefficient.")
    warmup_share: float = Field(0.05, ge=0, lt=1, description="Share of all steps with linear warm-up, 0 to 1.")


class EncoderConfig(ConfigSection):
    """A backbone: pretrained, by name or path, or built from the values of a config class, with `model_type`."""

    pretrained: str = Field("", description="Hugging Face name or folder; if empty, the model is built from `config`.")
    config: dict[str, Any] = Field(
        default_factory=dict, description="Values of the Hugging Face config class, with `model_type`."
    )
    freeze: bool = Field(False, description="Do not train the weights of the backbone.")

    @model_validator(mode="after")
    def _is_buildable(self) -> Self:
        if not self.pretrained and "model_type" not in self.config:
            raise ValueError("either `pretrained` or `config.model_type` must be set")
        return self


class PretrainConfig(ConfigSection):
    """Stage 1: disease-focused, sentence-level contrastive pre-training and calibrated disease perception."""

    image_encoder: EncoderConfig = Field(description="Image encoder.")
    text_encoder: EncoderConfig = Field(description="Text encoder for single sentences.")
    image_size_px: int = Field(224, ge=32, description="Side of the square input of the image encoder, pixels.")
    max_views: int = Field(2, ge=1, le=8, description="Maximum number of radiographs used per study.")
    pixel_mean: float = Field(0.5, description="Mean that is subtracted from pixel values (0 to 1).")
    pixel_std: float = Field(0.5, gt=0, description="Standard deviation by which pixel values (0 to 1) are divided.")
    joint_size: int = Field(256, ge=8, description="Size D of the joint image-text embedding.")
    sentences_per_study: int = Field(6, ge=1, description="Number of sentences sampled per study and step.")
    max_sentence_tokens: int = Field(
        48, ge=8, description="Maximum length of a sentence, tokens; longer ones are truncated."
    )
    vocabulary_size: int = Field(
        4000, ge=100, description="Vocabulary size of a tokenizer that is trained on the corpus, tokens."
    )
    temperature: float = Field(0.07, gt=0, description="Initial softmax temperature; it is learned.")
    local_weight: float = Field(1.0, ge=0, description="Weight of the loss of sentence-to-patch alignment.")
    hard_negative_weight: float = Field(
        1.0, ge=0, description="Weight of the loss against hard negatives (negated counterparts of sentences)."
    )
    max_negated_share: float = Field(
        0.5, gt=0, le=1, description="Maximum share of negated sentences among the sampled ones, 0 to 1."
    )
    prompt_share: float = Field(
        0.34,
        ge=0,
        le=1,
        description="Share of disease prompts, chosen by the labels of the study, among the sampled sentences.",
    )
    silence_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of negative prompts that are sampled for findings which the report does not mention.",
    )
    batch_size: int = Field(32, ge=2, description="Number of studies per worker and step.")
    epochs: float = Field(10, gt=0, description="Number of passes over the training studies.")
    optimizer: OptimizerConfig = OptimizerConfig()
    augment: bool = Field(
        True,
        description="Augment images by small shifts, scale, rotation and exposure; no flips.",
    )


class LoraSettings(ConfigSection):
    """Low-rank adapters (LoRA) of the LLM, by peft."""

    rank: int = Field(16, ge=1, description="Rank of the adapters.")
    alpha: int = Field(32, ge=1, description="Scaling numerator of the adapters; the scale is alpha / rank.")
    dropout: float = Field(0.05, ge=0, lt=1, description="Dropout probability in the adapters.")
    train_embeddings: bool = Field(
        False, description="Also train input and output embeddings, for models built from `config`."
    )


class FinetuneConfig(ConfigSection):
    """Stage 2: an LLM with LoRA, injected clues, cross-modal clue interaction, disease-aware consistency."""

    llm: EncoderConfig = Field(description="Causal language model.")
    lora: LoraSettings = LoraSettings()
    vocabulary_size: int = Field(
        4000, ge=100, description="Vocabulary size of a tokenizer that is trained on the corpus, tokens."
    )
    prompt: str = Field(
        "Write the findings of this chest radiograph.", description="Instruction that precedes the report."
    )
    max_report_tokens: int = Field(
        160, ge=8, description="Maximum length of a training report, tokens; longer ones are truncated."
    )
    clues: Literal["on", "off", "oracle", "shuffled"] = Field(
        "on",
        description="Clues: predicted (on), none (off), from the labels (oracle), dealt to wrong findings (shuffled).",
    )
    interaction: bool = Field(True, description="Use cross-modal clue interaction.")
    consistency: bool = Field(True, description="Use the disease-aware consistency loss.")
    consistency_weight: float = Field(0.5, ge=0, description="Weight of the consistency loss.")
    clue_dropout: float = Field(0.15, ge=0, le=1, description="Share of clues hidden in training, 0 to 1.")
    clue_noise: float = Field(
        0.0,
        ge=0,
        description="Standard deviation of noise on clue logits in training, where clues are overconfident.",
    )
    interaction_size: int = Field(
        512, ge=8, description="Size of clue and visual tokens before the projection into the LLM."
    )
    interaction_layers: int = Field(2, ge=1, description="Number of cross-attention blocks.")
    interaction_heads: int = Field(8, ge=1, description="Number of attention heads per block.")
    grid_size: int = Field(4, ge=1, description="Side of the pooled grid of visual tokens, cells.")
    augment: bool = Field(True, description="Augment images by small shifts, scale, rotation and exposure; no flips.")
    batch_size: int = Field(8, ge=1, description="Number of studies per worker and step.")
    epochs: float = Field(3, gt=0, description="Number of passes over the training studies.")
    optimizer: OptimizerConfig = OptimizerConfig()

    @field_validator("clues", mode="before")
    @classmethod
    def _undo_yaml_booleans(cls, value: object) -> object:
        return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value


class GenerateConfig(ConfigSection):
    """Decoding. There is no minimum length and no repetition penalty: both add invented findings to a normal report."""

    split: Literal["validate", "test"] = Field("test", description="Split for which reports are generated.")
    batch_size: int = Field(16, ge=1, description="Number of studies decoded together.")
    num_beams: int = Field(1, ge=1, description="Number of beams; 1 is greedy decoding.")
    max_new_tokens: int = Field(160, ge=8, description="Maximum length of a generated report, tokens.")
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
        return self


class EvaluateConfig(ConfigSection):
    """Scores of a predictions table."""

    meteor: bool = Field(True, description="Compute METEOR 1.5 (starts a Java process).")
    bootstrap_samples: int = Field(
        1000,
        ge=0,
        description="Number of bootstrap resamples, clustered by patient, for confidence intervals; 0 for none.",
    )
    report_studies: int = Field(60, ge=1, description="Number of studies shown in the HTML report.")


class RegisterConfig(ConfigSection):
    """The model registry and the gate that a challenger must pass to become the champion."""

    model_name: str = Field("trrg", pattern=r"^[A-Za-z0-9_.-]+$", description="Name of the registered model.")
    tracking_uri: str = Field(
        "", description="URI of the MLflow server; if empty, a SQLite registry in the store is used."
    )
    min_f1_gain: float = Field(
        0.0, ge=-1, le=1, description="Clinical micro-F1 must exceed that of the better baseline by more than this."
    )
    max_f1_drop: float = Field(
        0.01, ge=0, le=1, description="Maximum drop of clinical micro-F1 below that of the champion."
    )
    min_distinct_share: float = Field(
        0.05, ge=0, le=1, description="Minimum share of distinct reports among the generated ones, 0 to 1."
    )

    _uri_is_public = field_validator("tracking_uri")(_without_credentials)


class RayConfig(ConfigSection):
    """Connection of the jobs to a Ray cluster."""

    address: str = Field("", description="Ray address (`auto`, `ray://...`); if empty, a local cluster is started.")
    jobs_address: str = Field(
        "",
        description="Ray Jobs API to which jobs are submitted (http://head:8265); if empty, jobs run in this process.",
    )
    local_cpus: int = Field(4, ge=2, description="Number of logical CPUs of a local cluster.")
    object_store_mb: int = Field(512, ge=80, description="Object store size of a local cluster, MiB.")

    _addresses_are_public = field_validator("address", "jobs_address")(_without_credentials)


class TrrgConfig(ConfigSection):
    """All settings of a retraining run. Secrets are never fields: they come from the environment."""

    seed: int = Field(7, ge=0, description="Seed of all random numbers.")
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
