"""Settings of stage 1, of its gate, and of the engine that runs both training stages."""

from collections.abc import Iterator
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from trrg_core.config.section import ConfigSection


class OptimizerConfig(ConfigSection):
    """AdamW with linear warm-up and cosine decay to zero."""

    learning_rate: float = Field(1.0e-4, gt=0, description="Peak learning rate.")
    fresh_rate: float = Field(
        1.0,
        gt=0,
        description="Factor of the learning rate for randomly initialised layers beside a pretrained backbone.",
    )
    weight_decay: float = Field(
        0.01,
        ge=0,
        description="Decoupled weight decay coefficient; biases, norms, gates, scales and positions are not decayed.",
    )
    beta1: float = Field(0.9, ge=0, lt=1, description="Decay rate of the first moment of AdamW.")
    beta2: float = Field(0.999, ge=0, lt=1, description="Decay rate of the second moment of AdamW.")
    ema_decay: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Decay rate per step of an exponential moving average of the weights, which becomes the trained "
        "model; 0 for none.",
    )
    warmup_share: float = Field(0.05, ge=0, lt=1, description="Share of all steps with linear warm-up, 0 to 1.")


class EncoderConfig(ConfigSection):
    """A backbone: pretrained, by name or path, or built from the values of a config class, with `model_type`."""

    pretrained: str = Field(
        "",
        description="Hugging Face name, folder, or `weights:NAME` for a folder made by `trrg weights`; if empty, the "
        "model is built from `config`.",
    )
    revision: str = Field(
        "", description="Commit, tag or branch of a model of the hub; if empty, its main branch. Not for folders."
    )
    config: dict[str, Any] = Field(
        default_factory=dict, description="Values of the Hugging Face config class, with `model_type`."
    )
    sha256: dict[str, str] = Field(
        default_factory=dict,
        description="Expected sha256 of the weight files of `pretrained`, by file name; others are refused. If empty, "
        "they are recorded with the trained model only.",
    )
    attention: Literal["auto", "eager", "sdpa", "packed", "flash_attention_2"] = Field(
        "auto",
        description="Implementation of attention; auto takes the one of transformers that needs no package; packed, "
        "for LLMs, computes packed reports by torch's flash attention on a GPU, and all else as sdpa does.",
    )
    freeze: bool = Field(False, description="Do not train the weights of the backbone.")

    @field_validator("config")
    @classmethod
    def _has_no_attention(cls, value: dict[str, Any]) -> dict[str, Any]:
        # transformers would fetch code of other implementations from its hub
        for key in _keys(value):
            if key.lstrip("_").startswith("attn_implementation"):
                raise ValueError(f"{key} is not a value of an architecture: set `attention` beside `config`")
        return value

    @model_validator(mode="after")
    def _is_buildable(self) -> Self:
        if not self.pretrained and "model_type" not in self.config:
            raise ValueError("either `pretrained` or `config.model_type` must be set")
        return self


class EngineConfig(ConfigSection):
    """The training engine of both stages: Ray Train workers, DeepSpeed ZeRO, checkpoints."""

    num_workers: int = Field(2, ge=1, description="Number of Ray Train workers, one process each.")
    min_workers: int = Field(
        0,
        ge=0,
        description="Number of workers with which training starts or goes on when the cluster has no room for "
        "`num_workers`, e.g. after the loss of a node; it grows again once there is room. 0 waits for all of them.",
    )
    local: bool = Field(
        False, description="Train and score in the process of the job, as one worker, without starting Ray."
    )
    use_gpu: bool = Field(False, description="Use one GPU per worker; false trains on CPU.")
    feed_workers: int = Field(
        -1,
        ge=-1,
        le=256,
        description="Number of processes per worker that decode images and tokenise; 0 does it in the training thread; "
        "-1 takes the worker's share of the CPUs but one, at most 8. If that share is under 4: with a GPU two, else a "
        "background thread.",
    )
    zero_stage: int = Field(2, ge=0, le=3, description="DeepSpeed ZeRO stage, 0 to 3.")
    offload_optimizer: Literal["none", "cpu"] = Field(
        "none", description="Where to keep the optimizer state instead of GPU memory: CPU memory (ZeRO 1 to 3)."
    )
    offload_parameters: Literal["none", "cpu", "nvme"] = Field(
        "none",
        description="Where to keep the weights instead of GPU memory (ZeRO-3 only): CPU memory or files in "
        "`offload_folder`.",
    )
    offload_folder: str = Field("", description="Folder on a local NVMe disk of each node, for weights in files.")
    check_memory: bool = Field(
        True,
        description="Refuse to start on a GPU whose memory is less than the estimate for this training, on a machine "
        "whose memory is less than what is offloaded to it or, on CPUs, than weights, gradients, optimizer state and "
        "images take at least.",
    )
    compile_backend: str = Field(
        "",
        description="Backend of torch.compile, e.g. inductor, for the layers of the transformers; empty: not compiled.",
    )
    precision: Literal["fp32", "bf16"] = Field("fp32", description="Number format of the weights.")
    gradient_checkpointing: bool = Field(
        False,
        description="Recompute activations in the backward pass, which saves memory: those of the LLM, and in stage 1 "
        "those of all micro-batches of a worker but the first.",
    )
    max_failures: int = Field(2, ge=0, description="Maximum number of worker failures; after more, the run fails.")
    checkpoint_every_steps: int = Field(200, ge=1, description="Interval between two checkpoints, optimizer steps.")
    keep_checkpoints: int = Field(2, ge=1, description="Number of checkpoints to keep, the newest ones.")
    manifest_key_file: str = Field(
        "",
        description="File, outside the store, with the secret of the HMACs of manifests of checkpoints and models, on "
        "every machine that trains; the environment variable TRRG_MANIFEST_KEY comes first. If neither is set, there "
        "are sha256 only.",
    )
    log_every_steps: int = Field(10, ge=1, description="Interval between two progress lines, optimizer steps.")
    tensorboard: bool = Field(
        False, description="Also write the losses as TensorBoard event files into the run's folder."
    )
    mlflow: Literal["server", "always", "never"] = Field(
        "server",
        description="Where losses, learning rate and speed of a training are also a run of MLflow: `server`, at "
        "`register.tracking_uri` if that is set; `always`, else in the registry of the store; `never`.",
    )
    profile_steps: int = Field(
        0,
        ge=0,
        description="Number of steps of which torch's profiler writes a trace into the run's folder; 0 for none.",
    )
    validate_every_steps: int = Field(
        0, ge=0, description="Interval between two measurements of the loss on `validate`, optimizer steps; 0 for none."
    )
    patience: int = Field(
        0,
        ge=0,
        description="Number of consecutive measurements without a lower loss on `validate` after which training stops. "
        "The model has the weights of the lowest loss, also where training ends before; they are kept as a checkpoint. "
        "0 never stops early, and keeps the weights of the last step.",
    )
    clip_norm: float = Field(1.0, gt=0, description="Maximum norm of the gradient; larger gradients are clipped.")
    max_bad_steps: int = Field(
        5,
        ge=1,
        description="Maximum number of consecutive steps without finite loss and gradient before training stops.",
    )
    collective_timeout_s: int = Field(
        1800, ge=10, description="Timeout of a collective operation, seconds; after it the worker fails."
    )

    @property
    def num_ranks(self) -> int:
        """Processes of a whole training group: one where training is local."""
        return 1 if self.local else self.num_workers

    @field_validator("offload_optimizer", mode="before")
    @classmethod
    def _read_switch(cls, value: object) -> object:
        """Configurations of earlier versions have true or false here."""
        return {True: "cpu", False: "none"}[value] if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _can_shrink(self) -> Self:
        if self.min_workers > self.num_workers:
            raise ValueError(f"min_workers={self.min_workers} is more than num_workers={self.num_workers}")
        return self

    @model_validator(mode="after")
    def _can_stop_early(self) -> Self:
        if self.patience and not self.validate_every_steps:
            raise ValueError("patience needs validate_every_steps")
        return self

    @model_validator(mode="after")
    def _can_offload(self) -> Self:
        if self.offload_optimizer != "none" and self.zero_stage == 0:
            raise ValueError("offload_optimizer needs zero_stage 1, 2 or 3")
        if self.offload_parameters != "none" and self.zero_stage != 3:
            raise ValueError("offload_parameters needs zero_stage 3")
        if self.offload_parameters == "nvme" and not self.offload_folder:
            raise ValueError("offload_folder must be set for weights in files")
        return self


MAX_BATCH = 2**20  # as the largest of contrastive training in print (SigLIP, ICCV 2023)


class StageConfig(ConfigSection):
    """The steps of a training stage."""

    batch_size: int
    micro_batch_size: int

    @property
    def num_micro_batches(self) -> int:
        """Micro-batches per step, over all workers."""
        return self.batch_size // self.micro_batch_size

    @model_validator(mode="after")
    def _is_divisible(self) -> Self:
        if self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of micro_batch_size {self.micro_batch_size}: set both"
            )
        return self


class PretrainConfig(StageConfig):
    """Stage 1: disease-focused, sentence-level contrastive pre-training and calibrated disease perception."""

    batch_size: int = Field(64, ge=2, le=MAX_BATCH, description="Number of studies per step, over all workers.")
    micro_batch_size: int = Field(
        32,
        ge=2,
        le=MAX_BATCH,
        description="Number of studies that are encoded together, a divisor of `batch_size`; `batch_size` / "
        "`micro_batch_size` must be a multiple of the number of workers. All studies of a step are compared.",
    )
    image_encoder: EncoderConfig = Field(description="Image encoder.")
    text_encoder: EncoderConfig = Field(description="Text encoder for single sentences.")
    image_size_px: int = Field(224, ge=32, description="Side of the square input of the image encoder, pixels.")
    max_views: int = Field(2, ge=1, le=8, description="Maximum number of radiographs used per study.")
    pixel_mean: float = Field(0.5, ge=0, le=1, description="Mean that is subtracted from pixel values (0 to 1).")
    pixel_std: float = Field(
        0.5, ge=1e-5, le=10, description="Standard deviation by which pixel values (0 to 1) are divided."
    )
    joint_size: int = Field(256, ge=8, description="Size D of the joint image-text embedding.")
    sentences_per_study: int = Field(6, ge=1, le=256, description="Number of sentences sampled per study and step.")
    max_sentence_tokens: int = Field(
        48, ge=8, description="Maximum length of a sentence, tokens; longer ones are truncated."
    )
    vocabulary_size: int = Field(
        4000, ge=100, description="Vocabulary size of a tokenizer that is trained on the corpus, tokens."
    )
    temperature: float = Field(0.07, ge=1e-3, le=100, description="Initial softmax temperature; it is learned.")
    contrastive_loss: Literal["softmax", "sigmoid"] = Field(
        "softmax",
        description="Contrastive loss: multi-positive softmax (as CLIP), or sigmoid of each pair (as SigLIP).",
    )
    contrastive_weight: float = Field(1.0, ge=0, description="Weight of the contrastive loss of whole images.")
    local_weight: float = Field(
        1.0, ge=0, description="Weight of the contrastive loss of patches (sentence-to-patch alignment)."
    )
    patch_position: bool = Field(
        False,
        description="Add a learned embedding of its place in the grid to each patch, beside what the backbone knows.",
    )
    use_attributes: bool = Field(
        True, description="Compare side and degree, not only the assertion, when sentences are matched with studies."
    )
    use_zones: bool = Field(
        True,
        description="Compare the zone of the lungs too, upper, middle or lower: without it stage 1 takes a finding in "
        "the upper zone for a match of one in the lower.",
    )
    hard_negatives: tuple[Literal["polarity", "side", "severity", "report"], ...] = Field(
        ("polarity", "side", "severity", "report"),
        description="Kinds of hard negatives: the sentence with its assertion, side or degree turned round, and the "
        "sentences of other reports in the batch that contradict the study in one of its findings (report).",
    )
    hard_negative_form: Literal["pairs", "choice"] = Field(
        "choice",
        description="Loss against hard negatives: of each with its sentence (pairs), or of all of a sentence (choice).",
    )
    hard_negative_weight: float = Field(1.0, ge=0, description="Weight of the loss against hard negatives.")
    prompt_supervision: bool = Field(
        True,
        description="Train disease prompts with the labels of all findings; without it perception is zero-shot.",
    )
    prompt_weight: float = Field(
        2.0, ge=0, description="Weight of the label loss of disease prompts, where prompts are supervised."
    )
    side_prompt_weight: float = Field(
        1.0,
        ge=0,
        description="Weight of the loss of left against right prompts, where prompts are supervised; that of each side "
        "against its denial counts twice.",
    )
    degree_prompt_weight: float = Field(
        1.0,
        ge=0,
        description="Weight of the loss of the prompts of a slight, a moderate and a severe finding against each "
        "other, where prompts are supervised.",
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
        description="Share of the denying prompts that are sampled for findings which the report does not mention, and "
        "weight of such findings as absent in the loss of the prompts, 0 to 1.",
    )
    epochs: float = Field(10, gt=0, description="Number of passes over the training studies.")
    optimizer: OptimizerConfig = OptimizerConfig()
    augment: bool = Field(
        True,
        description="Augment images by small shifts, scale, rotation and exposure; no flips.",
    )

    @model_validator(mode="after")
    def _learns(self) -> Self:
        prompts = (self.prompt_weight, self.side_prompt_weight, self.degree_prompt_weight)
        of_prompts = max(prompts) if self.prompt_supervision else 0.0
        if not max(self.contrastive_weight, self.local_weight, self.hard_negative_weight, of_prompts):
            raise ValueError("the weights of all losses are 0: nothing would be learned")
        return self


class PerceptionGateConfig(ConfigSection):
    """The gate behind stage 1: values of the test split below which a run stops before stage 2."""

    min_studies: int = Field(
        100, ge=1, description="Number of test studies below which values are too uncertain to stop a run."
    )
    min_macro_auroc: float = Field(0.6, ge=0, le=1, description="Minimum macro AUROC of findings.")
    min_side_accuracy: float = Field(
        0.6, ge=0, le=1, description="Minimum share of one-sided findings whose likelier side is the stated one."
    )
    min_polarity_present: float = Field(
        0.6,
        ge=0,
        le=1,
        description="Minimum share of affirming sentences that fit better than their denial.",
    )
    min_polarity_absent: float = Field(
        0.6, ge=0, le=1, description="Minimum share of denials that fit better than their affirmation."
    )
    min_side: float = Field(
        0.6, ge=0, le=1, description="Minimum share of sentences that fit better than with left and right swapped."
    )
    min_severity: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Minimum share of sentences that fit better than with another degree; chance is 0.5.",
    )


def _keys(values: object) -> Iterator[str]:
    """Every key of nested mappings and lists."""
    waiting = [values]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from (str(key) for key in value)
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
