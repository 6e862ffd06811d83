"""Stage 1: disease-focused, sentence-level contrastive pre-training (TRRG, arXiv 2408.12141).

A batch with sentences in; the loss, or the features that perception and stage 2 use, out.
B studies of this rank, S sentences of this rank, G sentences of all ranks, F hard negatives, K texts of a study,
N patches, D joint size, P prompts, O observations, E observations with a side,
J graded observations.
"""

# ruff: noqa: N815 -- names carry their axes

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from trrg_core.config.settings import PretrainConfig, TrrgConfig
from trrg_core.labels import NUM_DEGREES
from trrg_core.model.backbones import Weights, build_backbone
from trrg_core.model.encoders import ImageEncoder, ImageFeatures, TextEncoder, encode_by_length
from trrg_core.model.similarity import LocalSimilarity, score_own, score_texts
from trrg_core.training.batch import NEGATIVE_KINDS, Batch, JoinedBatches, Sentences
from trrg_core.training.fact_tensors import Facts
from trrg_core.training.losses import (
    UNKNOWN,
    LossOutput,
    contradiction_loss,
    degree_prompt_loss,
    disease_prompt_loss,
    gather_rows,
    hard_negative_losses,
    multiple_choice_loss,
    relate,
    sentence_contrastive_loss,
    side_prompt_losses,
    sigmoid_contrastive_loss,
)

_MAX_LOGIT_SCALE = 100.0  # CLIP's bound: beyond it training becomes unstable
_LOCAL_SHARPNESS = 10.0  # initial inverse temperature of a sentence's attention over patches
_SIGMOID_BIAS = -2.0  # initial; few of the pairs of a batch match
_SIDE_PRESENCE_WEIGHT = 2.0  # of each side against its denial beside left against right


class _Encoded(NamedTuple):
    """A micro-batch, and the embeddings of its images and texts."""

    batch: Batch
    sentences: Sentences
    features: ImageFeatures
    sentence_SD: Tensor
    negative_FD: Tensor | None
    prompt_PD: Tensor | None


class _Comparison(NamedTuple):
    """Sentences and studies of all ranks: similarities, relations, what sentences state and of which study."""

    local_GB: Tensor
    global_GB: Tensor
    relation_GB: Tensor
    facts_GO: Tensor
    study_G: Tensor
    valid_G: Tensor


class ContrastiveModel(nn.Module):
    """Image and text encoders with a joint space that aligns sentences with radiographs, globally and locally."""

    def __init__(
        self, image: ImageEncoder, text: TextEncoder, *, config: PretrainConfig, recompute: bool = False
    ) -> None:
        super().__init__()
        self.image, self.text, self.config, self.recompute = image, text, config, recompute
        self.local_similarity = LocalSimilarity()
        # one element, not a scalar: DeepSpeed broadcasts parameters as bytes, which a scalar tensor does not allow
        self.log_scale = nn.Parameter(torch.tensor([math.log(1 / config.temperature)]))
        self.log_sharpness = nn.Parameter(torch.tensor([math.log(_LOCAL_SHARPNESS)]))
        if config.contrastive_loss == "sigmoid":
            self.bias = nn.Parameter(torch.tensor([_SIGMOID_BIAS]))

    @property
    def logit_scale(self) -> Tensor:
        """1 / temperature, bounded."""
        return self.log_scale[0].float().exp().clamp(max=_MAX_LOGIT_SCALE)

    @property
    def sharpness(self) -> Tensor:
        """Inverse temperature of a sentence's attention over patches, bounded."""
        return self.log_sharpness[0].float().exp().clamp(max=_MAX_LOGIT_SCALE)

    def forward(self, batch: Batch | JoinedBatches) -> LossOutput:
        """The loss of a batch with sentences; see `trrg_core.training.losses` for its parts.

        Micro-batches that are joined are encoded one by one, each with its own random draws, and then compared as if
        each were on a rank of its own. With `recompute`, all but the first are encoded again in the backward pass, so
        that the activations of two at most are in memory (the idea of GradCache, arXiv 2101.06983).
        """
        micro_batches = batch.parts if isinstance(batch, JoinedBatches) else (batch,)
        encoded = [self._encode(micro_batches[0], is_first=True)]
        for one in micro_batches[1:]:
            encode = partial(checkpoint, self._encode, use_reentrant=False) if self.recompute else self._encode
            encoded.append(encode(one, is_first=False))
        parts = self._contrast(encoded)
        own = [self._tell_negatives(one) | self._supervise_prompts(one) for one in encoded]
        parts |= {name: torch.stack([of_one[name] for of_one in own]).mean() for name in own[0]}
        loss = torch.stack([self._weight(name) * part for name, part in parts.items()]).sum()
        parts["scale"] = self.logit_scale
        return LossOutput(loss, {name: part.detach() for name, part in parts.items()})

    @property
    def _has_flips(self) -> bool:
        return any(kind in self.config.hard_negatives for kind in NEGATIVE_KINDS)

    def _weight(self, part: str) -> float:
        config = self.config
        fixed = {
            "contrast_global": config.contrastive_weight,
            "contrast_local": config.local_weight,
            "prompts": config.prompt_weight,
            "prompts_per_side": config.side_prompt_weight * _SIDE_PRESENCE_WEIGHT,
            "prompts_left_right": config.side_prompt_weight,
            "prompts_degree": config.degree_prompt_weight,
        }
        return fixed.get(part, config.hard_negative_weight)

    def encode_images(self, batch: Batch, *, augmented: bool = False) -> ImageFeatures:
        """Features of the batch's radiographs."""
        features: ImageFeatures = self.image(batch, augmented=augmented)
        return features

    def _encode(self, batch: Batch, *, is_first: bool) -> _Encoded:
        """Features and texts of a micro-batch; of several, only the first changes the running statistics of norms."""
        sentences = batch.sentences
        if sentences is None:
            raise ValueError("a pre-training batch needs sentences: use collate_pretrain")
        if not is_first:
            torch.manual_seed(batch.seed)
        with nullcontext() if is_first else _kept_statistics(self):
            # texts first: their backbone looks at its mask, for which a GPU must have done all that it was given
            texts = {"sentences": (sentences.ids_ST, sentences.mask_ST)}
            if self._has_flips:
                texts["flips"] = (sentences.negative_ids_FT, sentences.negative_mask_FT)
            if self.config.prompt_supervision:
                texts["prompts"] = (sentences.prompt_ids_PT, sentences.prompt_mask_PT)
            encoded = dict(zip(texts, encode_by_length(self.text, list(texts.values())), strict=True))
            features = self.encode_images(batch, augmented=self.training and self.config.augment)
        return _Encoded(batch, sentences, features, encoded["sentences"], encoded.get("flips"), encoded.get("prompts"))

    def _contrast(self, encoded: Sequence[_Encoded]) -> dict[str, Tensor]:
        """The contrastive losses, and that of sentences against those that contradict their study, of all ranks."""
        fit = self._compare_all(encoded)
        scale = self.logit_scale
        loss_of: Any = sentence_contrastive_loss
        if self.config.contrastive_loss == "sigmoid":
            loss_of = partial(sigmoid_contrastive_loss, bias=self.bias[0])
        losses = {
            name: loss_of(similarity_GB, fit.relation_GB, logit_scale=scale, valid_S=fit.valid_G)
            for name, similarity_GB in (("contrast_global", fit.global_GB), ("contrast_local", fit.local_GB))
        }
        if "report" in self.config.hard_negatives:
            relation_GB = fit.relation_GB.masked_fill(~fit.valid_G[:, None], UNKNOWN)
            similarity_GB = (fit.global_GB + fit.local_GB) / 2
            losses["contradictions"] = contradiction_loss(
                similarity_GB, relation_GB, fit.facts_GO, fit.study_G, logit_scale=scale
            )
        return losses

    def _compare_all(self, encoded: Sequence[_Encoded]) -> _Comparison:
        """The sentences of all micro-batches of all ranks beside the studies of all.

        Patches are not exchanged, since they are large: each rank scores all sentences against its own studies, and
        only the scores are gathered.
        """
        sentence_GD = gather_rows(torch.cat([one.sentence_SD for one in encoded]))
        sharpness = self.sharpness
        features = [one.features for one in encoded]
        similarities = [
            self.local_similarity(sentence_GD, of_one.patches_BND, of_one.patch_mask_BN, sharpness)
            for of_one in features
        ]
        study_BD = torch.cat([of_one.study_BD for of_one in features])
        study = _joined_facts([one.batch.facts for one in encoded]).map(gather_rows)
        first = encoded[0]
        study_G = _own_study(
            gather_rows(torch.cat([one.sentences.study_S for one in encoded])),
            per_batch=len(first.sentences.study_S),
            num_studies=len(first.batch),
        )
        own_GB = study_G[:, None] == torch.arange(len(study.assertion_NO), device=study_G.device)[None]
        sentence = _joined_facts([one.sentences.facts for one in encoded]).map(gather_rows)
        sentence, study = (compared_facts(facts, self.config) for facts in (sentence, study))
        return _Comparison(
            local_GB=gather_rows(torch.cat(similarities, dim=1).T).T,
            global_GB=sentence_GD @ gather_rows(study_BD).T,
            relation_GB=relate(sentence, study, own_GB),
            facts_GO=sentence.assertion_NO,
            study_G=study_G,
            valid_G=gather_rows(torch.cat([one.sentences.valid_S for one in encoded])),
        )

    def _tell_negatives(self, encoded: _Encoded) -> dict[str, Tensor]:
        """The losses against hard negatives, by kind."""
        if encoded.negative_FD is None:
            return {}
        sentences, features, sentence_SD = encoded.sentences, encoded.features, encoded.sentence_SD
        num_studies = len(features.study_BD)
        slot_F = sentences.negative_slot_F
        score_S = self._score_sentences(sentence_SD, sentences.study_S, features, num_studies)
        negative_F = self._score_sentences(encoded.negative_FD, sentences.study_S[slot_F], features, num_studies)
        margin_F = score_S[slot_F] - negative_F
        scale = self.logit_scale
        if self.config.hard_negative_form == "choice":
            return {"flips": multiple_choice_loss(margin_F, slot_F, logit_scale=scale, num_slots=len(sentence_SD))}
        kinds = sentences.negative_kind_F
        losses = hard_negative_losses(margin_F, kinds, logit_scale=scale, num_kinds=len(NEGATIVE_KINDS))
        return {f"flip_{kind}": loss for kind, loss in zip(NEGATIVE_KINDS, losses, strict=True)}

    def _score_sentences(self, text_ND: Tensor, study_N: Tensor, features: ImageFeatures, num_studies: int) -> Tensor:
        """The similarity `[N]` of each text with its study; `study_N` must not decrease."""
        # padded to one row of texts per study, so that patches are not copied per text
        counts_B = torch.bincount(study_N, minlength=num_studies)
        position_N = torch.arange(len(study_N), device=study_N.device) - (counts_B.cumsum(0) - counts_B)[study_N]
        padded_BKD = text_ND.new_zeros(num_studies, max(1, int(counts_B.max())), text_ND.shape[1])
        padded_BKD = padded_BKD.index_put((study_N, position_N), text_ND)
        return score_own(padded_BKD, features, sharpness=self.sharpness)[study_N, position_N]

    def _supervise_prompts(self, encoded: _Encoded) -> dict[str, Tensor]:
        """The losses of the prompts of every finding, side and degree, for every study, as perception compares."""
        if encoded.prompt_PD is None:
            return {}
        batch, sided_E = encoded.batch, encoded.sentences.sided_E
        scores_PB = score_texts(encoded.prompt_PD, encoded.features, sharpness=self.sharpness)[0]
        fit_BP: Tensor = scores_PB.T * self.logit_scale
        num_findings = batch.stated_BO.shape[1]
        num_sided, graded_J = len(sided_E), encoded.sentences.graded_J
        sizes = [num_findings, num_findings, num_sided, num_sided, NUM_DEGREES * len(graded_J)]
        present_BO, absent_BO, left_BE, right_BE, degrees_BP = torch.split(fit_BP, sizes, dim=1)
        unmentioned_weight = self.config.silence_share
        losses = {
            "prompts": disease_prompt_loss(
                present_BO - absent_BO, batch.stated_BO, unmentioned_weight=unmentioned_weight
            )
        }
        if self.config.side_prompt_weight and num_sided:
            losses["prompts_per_side"], losses["prompts_left_right"] = side_prompt_losses(
                torch.stack((left_BE, right_BE), dim=-1) - absent_BO[:, sided_E, None],
                batch.stated_BO[:, sided_E],
                batch.facts.side_NO[:, sided_E],
                unmentioned_weight=unmentioned_weight,
            )
        if self.config.degree_prompt_weight and len(graded_J):
            losses["prompts_degree"] = degree_prompt_loss(
                torch.stack(degrees_BP.chunk(NUM_DEGREES, dim=1), dim=-1),
                batch.stated_BO[:, graded_J],
                batch.facts.degree_NO[:, graded_J],
            )
        return losses


def compared_facts(facts: Facts, config: PretrainConfig) -> Facts:
    """The facts with those attributes that relations compare; the others are open."""
    nothing = torch.zeros_like(facts.assertion_NO)
    if not config.use_attributes:
        return Facts(facts.assertion_NO, nothing, nothing, nothing)
    return facts if config.use_zones else facts._replace(zone_NO=nothing)


def _joined_facts(facts: Sequence[Facts]) -> Facts:
    return Facts(*(torch.cat(tensors) for tensors in zip(*facts, strict=True)))


@contextmanager
def _kept_statistics(module: nn.Module) -> Iterator[None]:
    """Within the block batch norms use the statistics of the batch, but do not change their running ones.

    They follow the first micro-batch of rank 0, as they do with one micro-batch per rank.
    """
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _own_study(study_G: Tensor, *, per_batch: int, num_studies: int) -> Tensor:
    """Indices of studies among all micro-batches of all ranks, from indices within each micro-batch."""
    batch_G = torch.arange(len(study_G), device=study_G.device) // per_batch
    return study_G + batch_G * num_studies


def build_contrastive(
    config: TrrgConfig, tokenizer: Any, observations: Sequence[str], *, weights: Weights = "pretrained"
) -> ContrastiveModel:
    """The stage-1 model of `config`; `weights="random"` builds named backbones without their weights.

    Raises:
        ConfigError: if a backbone cannot be built.
    """
    stage = config.pretrain
    image = ImageEncoder(
        build_backbone(stage.image_encoder, role="image", weights=weights),
        size_px=stage.image_size_px,
        joint_size=stage.joint_size,
        pixel_mean=stage.pixel_mean,
        pixel_std=stage.pixel_std,
        frozen=stage.image_encoder.freeze,
        patch_position=stage.patch_position,
    )
    text_backbone = build_backbone(
        stage.text_encoder,
        role="text",
        vocabulary_size=len(tokenizer),
        weights=weights,
        pad_token_id=tokenizer.pad_token_id,
    )
    text = TextEncoder(
        text_backbone,
        joint_size=stage.joint_size,
        max_tokens=stage.max_sentence_tokens,
        frozen=stage.text_encoder.freeze,
    )
    return ContrastiveModel(image, text, config=stage, recompute=config.engine.gradient_checkpointing)
