"""Stage 2: an LLM with LoRA that writes the report from visual tokens and disease clues (TRRG, arXiv 2408.12141).

A batch in; the loss of its reports, or the prefix that decoding starts from, out.
B studies, V views, M visual tokens, K clues, L prefix length, T report tokens, N report tokens of all studies,
W token width, H LLM width, O observations, Y vocabulary.
"""

# ruff: noqa: N815 -- names carry their axes

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trrg_core.clue import describe_clues
from trrg_core.config.settings import FinetuneConfig, TrrgConfig
from trrg_core.errors import ConfigError
from trrg_core.model.backbones import Weights
from trrg_core.model.clues import ClueInjection, Clues, clues_of, read_clues, shift_clues, train_clues
from trrg_core.model.contrastive import ContrastiveModel
from trrg_core.model.disease_head import DiseaseHead, Stated
from trrg_core.model.encoders import ImageFeatures
from trrg_core.model.instruction import Instruction, context_texts, encode_instruction, instruction_text
from trrg_core.model.interaction import CrossModalClueInteraction
from trrg_core.model.llm import Reading, attention_cost, build_llm, read_tokens
from trrg_core.model.packing import pack_tokens, place_apart, place_together
from trrg_core.model.perception import DiseasePerception, Perceived
from trrg_core.model.visual_tokens import VisualTokens
from trrg_core.training.batch import Batch, Reports
from trrg_core.training.losses import (
    LossOutput,
    degree_prompt_loss,
    disease_consistency_loss,
    side_prompt_losses,
)
from trrg_core.training.token_loss import num_token_chunks, token_loss
from trrg_core.training.tokenization import encode_texts, pad_ids

_MAX_CLUE_TOKENS = 128  # of clues in words
_SHORTEST_REPORT = 8  # tokens, the least that finetune.max_report_tokens can be
_ATTRIBUTE_WEIGHT = 0.5  # of sides and of degrees in the consistency loss, beside findings


class Prefix(NamedTuple):
    """The input of the LLM before the report: left-padded embeddings, their mask, and the clues among them."""

    embeddings_BLH: Tensor
    mask_BL: Tensor
    clues: Clues


class ReportGenerator(nn.Module):
    """A frozen stage 1, clue injection, clue interaction, and an LLM with adapters."""

    before_ids: Tensor
    prompt_ids: Tensor
    after_ids: Tensor

    def __init__(
        self,
        contrastive: ContrastiveModel,
        perception: DiseasePerception,
        llm: Any,
        tokenizer: Any,
        *,
        instruction: Instruction,
        config: FinetuneConfig,
    ) -> None:
        super().__init__()
        self.contrastive = contrastive.requires_grad_(False)
        self.perception = perception
        self.llm = llm
        self.config = config
        self.tokenizer = tokenizer
        for name, ids in zip(("before_ids", "prompt_ids", "after_ids"), instruction, strict=True):
            self.register_buffer(name, torch.tensor(ids, dtype=torch.int64), persistent=False)
        width, llm_width = config.interaction_size, int(llm.config.hidden_size)
        self.visual_tokens = VisualTokens(hidden_width=contrastive.image.width, width=width, grid_size=config.grid_size)
        self.clue_injection = ClueInjection(joint_size=contrastive.config.joint_size, width=width)
        self.interaction = (
            CrossModalClueInteraction(
                width=width, num_heads=config.interaction_heads, num_layers=config.interaction_layers
            )
            if config.interaction
            else None
        )
        self.to_llm = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, llm_width))
        self.disease_head = DiseaseHead(len(perception.observations), width=llm_width)

    @property
    def max_prefix_tokens(self) -> int:
        """The most positions of the LLM that a study takes before its report."""
        config, (rows, columns) = self.config, self.contrastive.image.layout.grid_hw
        of_view = min(config.grid_size, rows) * min(config.grid_size, columns)
        if config.patch_tokens:
            of_view += rows * columns
        instruction = len(self.before_ids) + len(self.prompt_ids) + len(self.after_ids)
        words = (config.max_context_tokens if config.context else 0) + (_MAX_CLUE_TOKENS if config.clue_text else 0)
        visual = 1 + self.contrastive.config.max_views * of_view
        return instruction + words + visual + len(self.perception.observations)

    def check_positions(self, num_report_tokens: int, *, setting: str) -> None:
        """Check that the LLM has a position for every token of the longest input.

        Args:
            num_report_tokens: of the longest report.
            setting: which sets that number.

        Raises:
            ConfigError: if it has fewer: tables of positions end there, and others were not trained for more.
        """
        positions, prefix = getattr(self.llm.config, "max_position_embeddings", None), self.max_prefix_tokens
        if not positions or prefix + num_report_tokens <= positions:
            return
        # merged with its adapters it is no longer a model of peft
        llm = self.llm.get_base_model() if hasattr(self.llm, "get_base_model") else self.llm
        fewer = f"set {setting} to at most {positions - prefix}, " if positions - prefix >= _SHORTEST_REPORT else ""
        context = ", tell less of the study (finetune.max_context_tokens)" if self.config.context else ""
        raise ConfigError(
            f"{type(llm).__name__} has {positions} positions (max_position_embeddings), and a "
            f"study needs up to {prefix + num_report_tokens}: {prefix} for images, clues and instruction and "
            f"{num_report_tokens} for its report ({setting}); {fewer}show less of the images (finetune.grid_size, "
            f"pretrain.max_views){context}, or take an LLM with more positions"
        )

    def train(self, mode: bool = True) -> "ReportGenerator":
        """As `nn.Module.train`, but stage 1 stays in eval mode: it is frozen, with its batch statistics."""
        super().train(mode)
        self.contrastive.eval()
        return self

    def forward(self, batch: Batch) -> LossOutput:
        """The loss of a batch with reports: report tokens, and disease-aware consistency."""
        if batch.reports is None:
            raise ValueError("a fine-tuning batch needs reports: use collate_finetune")
        prefix = self.prefix(batch)
        reading, padding = self._read(prefix, batch.reports)
        report = self._report_loss(reading, batch.reports)
        parts = {"report": report, "padding": padding}
        loss = report
        if self.config.consistency:
            consistency = self._consistency(reading.states, batch, prefix.clues)
            loss = loss + self.config.consistency_weight * consistency
            parts["consistency"] = consistency
        return LossOutput(loss, {name: part.detach() for name, part in parts.items()})

    def prefix(
        self,
        batch: Batch,
        clues: Clues | None = None,
        *,
        clue_shift: float = 0.0,
        clue_sharpness: float = 1.0,
        features: ImageFeatures | None = None,
    ) -> Prefix:
        """Visual tokens, clue tokens and the prompt as LLM embeddings.

        Args:
            batch: the studies.
            clues: replace the batch's own.
            clue_shift: added to the logits of perceived clues as the LLM reads them: above 0 more findings are written,
                below 0 fewer. The clues of the result stay as they are.
            clue_sharpness: how much more certain than perceived the clues are as the LLM reads them (`shift_clues`).
            features: of the batch's images if they are encoded already.
        """
        with torch.no_grad():
            if features is None:
                features = self.contrastive.encode_images(batch, augmented=self.training and self.config.augment)
            if clues is None:
                clues = self._own_clues(self.perception(features), batch)
        clues = clues.sorted()
        visual_BMW, visual_mask_BM = self.visual_tokens(features)
        shifted = shift_clues(clues, self.perception, shift=clue_shift, sharpness=clue_sharpness)
        clue_BKW = self.clue_injection(shifted, self.perception)
        num_read = visual_BMW.shape[1] - (0 if self.config.patch_tokens else features.patch_mask_BN.shape[1])
        if self.interaction is not None:
            visual_BMW, clue_BKW = self.interaction(
                visual_BMW, visual_mask_BM, clue_BKW, clues.mask_BK, num_read=num_read
            )
        visual_BMW, visual_mask_BM = visual_BMW[:, :num_read], visual_mask_BM[:, :num_read]
        input_BLH = self.to_llm(torch.cat((visual_BMW, clue_BKW), dim=1))
        ids_BL, prompt_mask = self._prompts(shifted, batch)
        num_before = len(self.before_ids)
        words_BLH = self.llm.get_input_embeddings()(ids_BL)
        embeddings = torch.cat((words_BLH[:, :num_before], input_BLH.to(words_BLH.dtype), words_BLH[:, num_before:]), 1)
        mask = (prompt_mask[:, :num_before], visual_mask_BM, clues.mask_BK, prompt_mask[:, num_before:])
        return Prefix(*left_pad(embeddings, torch.cat(mask, dim=1)), clues)

    def _prompts(self, clues: Clues, batch: Batch) -> tuple[Tensor, Tensor]:
        """The instruction of each study as token ids and their mask `[B,L]`.

        If so set, what is known of the study and its clues in words are part of it.
        """
        before, words, after = (
            (ids.expand(len(batch), -1), ids.new_ones((len(batch), len(ids)), dtype=torch.bool))
            for ids in (self.before_ids, self.prompt_ids, self.after_ids)
        )
        parts = [before, words]
        if self.config.context:
            parts.append(self._encode(self._contexts(batch), self.config.max_context_tokens))
        if self.config.clue_text:
            texts = [describe_clues(own) for own in read_clues(clues, self.perception)]
            parts.append(self._encode(texts, _MAX_CLUE_TOKENS))
        ids, masks = zip(*parts, after, strict=True)
        return torch.cat(ids, dim=1), torch.cat(masks, dim=1)

    def _contexts(self, batch: Batch) -> list[str]:
        texts = context_texts(batch, self.config.context)
        if not self.training:
            return texts
        is_shown = torch.rand(len(texts)) >= self.config.context_dropout
        return [text if given else "" for text, given in zip(texts, is_shown.tolist(), strict=True)]

    def _encode(self, texts: list[str], max_tokens: int) -> tuple[Tensor, Tensor]:
        """The token ids of `texts` and their mask `[B,L]`, on the device of the instruction."""
        rows = encode_texts(self.tokenizer, texts, max_tokens=max_tokens, special_tokens=False)
        ids, mask = pad_ids(rows, pad_id=self.tokenizer.pad_token_id)
        return ids.to(self.prompt_ids.device), mask.to(self.prompt_ids.device)

    def _own_clues(self, perceived: Perceived, batch: Batch) -> Clues:
        config = self.config
        clues = clues_of(perceived, batch, source=config.clues)
        if not self.training or config.clues in ("off", "oracle"):
            return clues
        return train_clues(
            clues,
            batch,
            noise=config.clue_noise,
            dropout=config.clue_dropout,
            part_dropout=config.clue_part_dropout,
        )

    def _read(self, prefix: Prefix, reports: Reports) -> tuple[Reading, Tensor]:
        """What the LLM makes of the T + 1 positions from the end of the prefix on, and the share of padding it read.

        Positions after the end of a report are those of its last token.
        """
        report_BTH = self.llm.get_input_embeddings()(reports.ids_BT)
        mask = torch.cat((prefix.mask_BL, reports.mask_BT), dim=1)
        lengths: list[int] = mask.sum(1).tolist()
        is_packed, cost = self.config.packing, attention_cost(self.llm)
        placement = place_together(lengths, attention_cost=cost) if is_packed else place_apart(lengths)
        packed = pack_tokens(torch.cat((prefix.embeddings_BLH, report_BTH), dim=1), mask, placement)
        before_B, own_B = prefix.mask_BL.sum(1) - 1, reports.mask_BT.sum(1)
        steps_T = torch.arange(reports.ids_BT.shape[1] + 1, device=own_B.device)
        at_BT = (packed.first_B + before_B)[:, None] + torch.minimum(steps_T, own_B[:, None])
        padding = mask.new_tensor(1 - sum(lengths) / placement.num_slots, dtype=torch.float32)
        return read_tokens(self.llm, packed).at(at_BT), padding

    def _report_loss(self, reading: Reading, reports: Reports) -> Tensor:
        most = self.config.micro_batch_size * self.config.max_report_tokens
        return token_loss(
            reading.before_head[:, :-1].flatten(0, 1),
            reports.ids_BT.flatten(),
            reports.weights_BT.flatten(),
            reading.head,
            num_chunks=num_token_chunks(most, int(self.llm.config.vocab_size)),
        )

    def _consistency(self, states_BTH: Tensor, batch: Batch, clues: Clues) -> Tensor:
        assert batch.reports is not None
        intended, written = self.disease_head(states_BTH, batch.reports.mask_BT)
        losses = [
            self._disagreement(stated, batch, clues)
            for stated in ((intended,) if self.config.consistency_states == "intended" else (intended, written))
        ]
        return torch.stack(losses).mean()

    def _disagreement(self, stated: Stated, batch: Batch, clues: Clues) -> Tensor:
        """The loss of findings, and at half its weight those of their sides and degrees."""
        order = clues.observation_BK
        zeros_BO = torch.zeros_like(stated.finding_BO)
        by_finding = disease_consistency_loss(
            stated.finding_BO,
            labels_BO=batch.labels_BO,
            label_mask_BO=batch.label_mask_BO,
            clue_BO=zeros_BO.scatter(1, order, clues.probability_BK.to(zeros_BO)),
            clue_mask_BO=zeros_BO.scatter(1, order, clues.mask_BK.to(zeros_BO)),
        )
        sided_O, graded_O = self.perception.sided_O, self.perception.graded_O
        by_side, _ = side_prompt_losses(
            stated.side_BO2[:, sided_O],
            batch.stated_BO[:, sided_O],
            batch.facts.side_NO[:, sided_O],
            unmentioned_weight=0.5,
        )
        by_degree = degree_prompt_loss(
            stated.degree_BO3[:, graded_O], batch.stated_BO[:, graded_O], batch.facts.degree_NO[:, graded_O]
        )
        return by_finding + _ATTRIBUTE_WEIGHT * (by_side + by_degree)


def left_pad(embeddings_BLH: Tensor, mask_BL: Tensor) -> tuple[Tensor, Tensor]:
    """Move unmasked entries to the right end of each row, in order, and cut columns that are masked in all rows."""
    order = mask_BL.to(torch.int8).argsort(dim=1, stable=True)
    order = order[:, mask_BL.shape[1] - int(mask_BL.sum(1).max()) :]
    padded = embeddings_BLH.gather(1, order[..., None].expand(-1, -1, embeddings_BLH.shape[2]))
    mask = mask_BL.gather(1, order)
    return padded * mask[..., None].to(padded.dtype), mask


def build_generator(
    config: TrrgConfig,
    contrastive: ContrastiveModel,
    perception: DiseasePerception,
    tokenizer: Any,
    observations: Sequence[str],
    *,
    weights: Weights = "pretrained",
) -> ReportGenerator:
    """The stage-2 model of `config` on top of a trained stage 1, which it freezes.

    Raises:
        ConfigError: if the LLM cannot be built, or has fewer positions than a study and its report take.
        ValueError: if perception has other observations.
    """
    if tuple(observations) != perception.observations:
        raise ValueError("perception was built for other observations")
    llm = build_llm(config, tokenizer, weights=weights)
    instruction = encode_instruction(tokenizer, instruction_text(config), chat_template=config.finetune.chat_template)
    generator = ReportGenerator(
        contrastive, perception, llm, tokenizer, instruction=instruction, config=config.finetune
    )
    generator.check_positions(config.finetune.max_report_tokens, setting="finetune.max_report_tokens")
    return generator
