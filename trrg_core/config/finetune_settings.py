"""Settings of stage 2: the language model, its clues, and what it learns from."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from trrg_core.config.section import ConfigSection
from trrg_core.config.training_settings import MAX_BATCH, EncoderConfig, OptimizerConfig, StageConfig


class LoraSettings(ConfigSection):
    """Low-rank adapters (LoRA) of the LLM, by peft."""

    rank: int = Field(16, ge=1, description="Rank of the adapters.")
    alpha: int = Field(32, ge=1, description="Scaling numerator of the adapters; the scale is alpha / rank.")
    dropout: float = Field(0.05, ge=0, lt=1, description="Dropout probability in the adapters.")
    base: Literal["full", "nf4"] = Field(
        "full",
        description="Number format of the frozen weights under the adapters: that of `engine.precision`, or 4 bits "
        "(QLoRA), which needs bitsandbytes, a GPU and a pretrained LLM.",
    )
    train_embeddings: bool = Field(
        False, description="Also train input and output embeddings, for models built from `config`."
    )


class FinetuneConfig(StageConfig):
    """Stage 2: an LLM with LoRA, injected clues, cross-modal clue interaction, disease-aware consistency."""

    batch_size: int = Field(16, ge=1, le=MAX_BATCH, description="Number of studies per step, over all workers.")
    micro_batch_size: int = Field(
        8,
        ge=1,
        le=MAX_BATCH,
        description="Number of studies that are processed together, a divisor of `batch_size`; the micro-batches of a "
        "step are shared out among the workers, and the result does not depend on their number.",
    )
    llm: EncoderConfig = Field(description="Causal language model.")
    lora: LoraSettings = LoraSettings()
    vocabulary_size: int = Field(
        4000, ge=100, description="Vocabulary size of a tokenizer that is trained on the corpus, tokens."
    )
    prompt: str = Field(
        "Write the {section} of this chest radiograph.",
        description="Instruction that precedes the report; `{section}` stands for `shard.section` in words.",
    )
    chat_template: bool = Field(
        True,
        description="Put the instruction into the chat template of the LLM's tokenizer, if that has one, so that the "
        "report is the answer to it.",
    )
    sentence_order: Literal["written", "findings-first"] = Field(
        "written",
        description="Order of the sentences of training reports: as written, or those that affirm findings first, in "
        "the order of the observations.",
    )
    max_report_tokens: int = Field(
        160, ge=8, description="Maximum length of a training report, tokens; longer ones are truncated."
    )
    packing: bool = Field(
        True,
        description="Put several short reports into one row of the LLM's input, which computes less for padding; the "
        "loss is the same. Needs an LLM whose layers are all attention.",
    )
    clues: Literal["on", "off", "oracle", "shuffled"] = Field(
        "on",
        description="Clues: predicted (on), none (off), from the labels (oracle), dealt to wrong findings (shuffled).",
    )
    clue_text: bool = Field(
        False, description="Also name the findings and sides that the clues show in the instruction, in words."
    )
    context: tuple[Literal["indication", "prior"], ...] = Field(
        (),
        description="What else the instruction tells of a study: why it was made, and the report of the earlier study.",
    )
    max_context_tokens: int = Field(
        160, ge=8, description="Maximum length of what the instruction tells of a study, tokens; longer is truncated."
    )
    context_dropout: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Share of studies of which the instruction tells nothing in training, 0 to 1, so that reports can "
        "be written without it.",
    )
    interaction: bool = Field(True, description="Use cross-modal clue interaction.")
    consistency: bool = Field(True, description="Use the disease-aware consistency loss.")
    consistency_weight: float = Field(0.5, ge=0, description="Weight of the consistency loss.")
    consistency_states: Literal["both", "intended"] = Field(
        "both",
        description="States that the consistency loss reads: before the report (intended), or also after it (both).",
    )
    clue_dropout: float = Field(0.1, ge=0, le=1, description="Share of single clues hidden in training, 0 to 1.")
    clue_part_dropout: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share of clues that lose a part in training, for each part by itself: probability, sides and "
        "degrees, local vector; 0 to 1.",
    )
    clue_noise: float = Field(
        0.5,
        ge=0,
        description="Standard deviation of noise on clue logits in training, where clues are overconfident.",
    )
    hidden_share: float = Field(0.1, ge=0, le=1, description="Share of studies with all clues hidden in training.")
    given_share: float = Field(
        0.15, ge=0, le=1, description="Share of studies whose clues are set to what the report states in training."
    )
    turned_share: float = Field(
        0.25,
        ge=0,
        le=1,
        description="Share of studies with one finding denied or affirmed in report and clue alike in training.",
    )
    turned_side_share: float = Field(
        0.25,
        ge=0,
        le=1,
        description="Share of studies with a side turned in report and clue alike in training.",
    )
    turned_degree_share: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Share of studies with a degree changed in report and clue alike in training.",
    )
    affirmed_weight: float = Field(
        2.0, gt=0, description="Weight in the loss of sentences that affirm a finding; others count 1."
    )
    interaction_size: int = Field(
        512, ge=8, description="Size of clue and visual tokens before the projection into the LLM."
    )
    interaction_layers: int = Field(2, ge=1, description="Number of cross-attention blocks.")
    interaction_heads: int = Field(8, ge=1, description="Number of attention heads per block.")
    grid_size: int = Field(4, ge=1, description="Side of the pooled grid of visual tokens, cells.")
    patch_tokens: bool = Field(
        False,
        description="Let the LLM read every patch after the interaction, beside the study and the pooled grid.",
    )
    augment: bool = Field(True, description="Augment images by small shifts, scale, rotation and exposure; no flips.")
    epochs: float = Field(3, gt=0, description="Number of passes over the training studies.")
    optimizer: OptimizerConfig = OptimizerConfig()

    @model_validator(mode="after")
    def _are_shares(self) -> Self:
        shares = (
            self.hidden_share,
            self.given_share,
            self.turned_share,
            self.turned_side_share,
            self.turned_degree_share,
        )
        if sum(shares) > 1 + 1e-9:
            raise ValueError(
                f"hidden_share, given_share, turned_share, turned_side_share and turned_degree_share add up to "
                f"{sum(shares):g}: at most 1 is possible"
            )
        return self

    @model_validator(mode="after")
    def _has_whole_heads(self) -> Self:
        if self.interaction_size % self.interaction_heads:
            raise ValueError(
                f"interaction_size {self.interaction_size} is not a multiple of interaction_heads "
                f"{self.interaction_heads}"
            )
        return self

    @field_validator("clues", mode="before")
    @classmethod
    def _undo_yaml_booleans(cls, value: object) -> object:
        return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value
