"""Stage 1: disease-focused, sentence-level contrastive pre-training (TRRG, arXiv 2408.12141).

A batch with sentences in; the loss, or the features that perception and stage 2 use, out.
B studies of this rank, S sentences of this rank, G sentences of all ranks, K texts of a study,
N patches, D joint size, P prompts, O observations.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trrg_core.config.settings import PretrainConfig, TrrgConfig
from trrg_core.model.backbones import Weights, build_backbone
from trrg_core.model.encoders import ImageEncoder, ImageFeatures, TextEncoder, masked_softmax
from trrg_core.training.batch import Batch, Sentences
from trrg_core.training.losses import (
    LossOutput,
    disease_prompt_loss,
    gather_rows,
    hard_negative_loss,
    relate,
    sentence_contrastive_loss,
)

_MAX_LOGIT_SCALE = 100.0  # CLIP's bound: beyond it training becomes unstable
_PROMPT_WEIGHT = 2.0  # of the prompts of all findings beside the hard negatives of single sentences
_LOCAL_SHARPNESS = 10.0  # initial inverse temperature of a sentence's attention over patches


class ContrastiveModel(nn.Module):
    """Image and text encoders with a joint space that aligns sentences with radiographs, globally and locally."""

    def __init__(self, image: ImageEncoder, text: TextEncoder, *, config: PretrainConfig) -> None:
        super().__init__()
        self.image, self.text, self.config = image, text, config
        # one element, not a scalar: DeepSpeed broadcasts parameters as bytes, which a scalar tensor does not allow
        self.log_scale = nn.Parameter(torch.tensor([math.log(1 / config.temperature)]))
        self.log_sharpness = nn.Parameter(torch.tensor([math.log(_LOCAL_SHARPNESS)]))

    @property
    def logit_scale(self) -> Tensor:
        """1 / temperature, bounded."""
        return self.log_scale[0].float().exp().clamp(max=_MAX_LOGIT_SCALE)

    @property
    def sharpness(self) -> Tensor:
        """Inverse temperature of a sentence's attention over patches, bounded."""
        return self.log_sharpness[0].float().exp().clamp(max=_MAX_LOGIT_SCALE)

    def forward(self, batch: Batch) -> LossOutput:
        """The loss of a batch with sentences; see `trrg_core.training.losses` for its parts."""
        if batch.sentences is None:
            raise ValueError("a pre-training batch needs sentences: use collate_pretrain")
        features = self.encode_images(batch, augmented=self.training and self.config.augment)
        sentence_SD, negative_SD = self._encode_sentences(batch.sentences)
        local_SB, relation_SB, global_SB, valid_S = self._compare_all_ranks(batch, features, sentence_SD)
        scale = self.logit_scale
        by_study = sentence_contrastive_loss(global_SB, relation_SB, logit_scale=scale, valid_S=valid_S)
        by_patch = sentence_contrastive_loss(local_SB, relation_SB, logit_scale=scale, valid_S=valid_S)
        by_negative = self._negative_loss(batch.sentences, features, sentence_SD, negative_SD)
        by_prompt = self._prompt_loss(batch, features)
        hard = self.config.hard_negative_weight * (by_negative + _PROMPT_WEIGHT * by_prompt)
        loss = by_study + self.config.local_weight * by_patch + hard
        parts = {"contrast_global": by_study, "contrast_local": by_patch, "hard_negative": by_negative}
        parts |= {"disease_prompts": by_prompt, "scale": scale}
        return LossOutput(loss, {name: part.detach() for name, part in parts.items()})

    def encode_images(self, batch: Batch, *, augmented: bool = False) -> ImageFeatures:
        """Features of the batch's radiographs."""
        features: ImageFeatures = self.image(batch, augmented=augmented)
        return features

    def _encode_sentences(self, sentences: Sentences) -> tuple[Tensor, Tensor]:
        sentence_SD = self.text(sentences.ids_ST, sentences.mask_ST)
        return sentence_SD, self.text(sentences.negative_ids_ST, sentences.negative_mask_ST)

    def _compare_all_ranks(
        self, batch: Batch, features: ImageFeatures, sentence_SD: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Local similarity, relation, global similarity of all ranks' sentences and studies, and valid slots.

        Patches are not exchanged, since they are large: each rank scores all sentences against its own studies, and
        only the scores are gathered.
        """
        sentences = batch.sentences
        assert sentences is not None
        sentence_GD = gather_rows(sentence_SD)
        local_GB = local_similarity(sentence_GD, features, sharpness=self.sharpness)[0]
        local_GB = gather_rows(local_GB.T).T
        global_GB = sentence_GD @ gather_rows(features.study_BD).T
        stated_BO = gather_rows(batch.stated_BO)
        study_G = _own_study(gather_rows(sentences.study_S), per_rank=len(sentences.study_S), num_studies=len(batch))
        own_GB = study_G[:, None] == torch.arange(stated_BO.shape[0], device=study_G.device)[None]
        relation_GB = relate(gather_rows(sentences.facts_SO), stated_BO, own_GB)
        return local_GB, relation_GB, global_GB, gather_rows(sentences.valid_S)

    def _negative_loss(
        self, sentences: Sentences, features: ImageFeatures, sentence_SD: Tensor, negative_SD: Tensor
    ) -> Tensor:
        # slots are in study order: both texts are scored together, without a copy of the patches per sentence
        shape = (len(features.study_BD), -1, sentence_SD.shape[1])
        pair_BKD = torch.cat((sentence_SD.reshape(shape), negative_SD.reshape(shape)), dim=1)
        score_BK, negative_score_BK = score_own(pair_BKD, features, sharpness=self.sharpness).chunk(2, dim=1)
        scale = self.logit_scale
        return hard_negative_loss(
            score_BK.flatten(), negative_score_BK.flatten(), sentences.has_negative_S, logit_scale=scale
        )

    def _prompt_loss(self, batch: Batch, features: ImageFeatures) -> Tensor:
        """Every finding's affirming prompt against its denying one, for every study, as perception compares them."""
        assert batch.sentences is not None
        prompt_PD = self.text(batch.sentences.prompt_ids_PT, batch.sentences.prompt_mask_PT)
        fit_PB = score_texts(prompt_PD, features, sharpness=self.sharpness)[0]
        present_OB, absent_OB = fit_PB.chunk(2)
        score_BO = (present_OB - absent_OB).T * self.logit_scale
        return disease_prompt_loss(score_BO, batch.stated_BO, unmentioned_weight=self.config.silence_share)


def score_own(text_BKD: Tensor, features: ImageFeatures, *, sharpness: Tensor) -> Tensor:
    """As `score_texts`, but the K texts of each study are scored with that study only: `[B,K]`."""
    scores_BKN = text_BKD @ features.patches_BND.transpose(1, 2)
    weights_BKN = masked_softmax(scores_BKN * sharpness, features.patch_mask_BN[:, None])
    visual_BKD = nn.functional.normalize(weights_BKN @ features.patches_BND, dim=-1)
    return ((text_BKD * features.study_BD[:, None]).sum(-1) + (text_BKD * visual_BKD).sum(-1)) / 2


def score_texts(text_SD: Tensor, features: ImageFeatures, *, sharpness: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of global and local similarity `[S,B]`, and each text's visual vector per study `[S,B,D]`."""
    local_SB, visual_SBD = local_similarity(text_SD, features, sharpness=sharpness)
    return (text_SD @ features.study_BD.T + local_SB) / 2, visual_SBD


def local_similarity(text_SD: Tensor, features: ImageFeatures, *, sharpness: Tensor) -> tuple[Tensor, Tensor]:
    """Attention of each text over the patches of each study: cosine `[S,B]` and visual vector `[S,B,D]`."""
    scores_SBN = torch.einsum("sd,bnd->sbn", text_SD, features.patches_BND)
    weights_SBN = masked_softmax(scores_SBN * sharpness, features.patch_mask_BN[None])
    visual_SBD = torch.einsum("sbn,bnd->sbd", weights_SBN, features.patches_BND)
    visual_SBD = nn.functional.normalize(visual_SBD, dim=-1)
    return torch.einsum("sd,sbd->sb", text_SD, visual_SBD), visual_SBD


def _own_study(study_G: Tensor, *, per_rank: int, num_studies: int) -> Tensor:
    """Indices of studies among all ranks, from indices within each rank."""
    rank_G = torch.arange(len(study_G), device=study_G.device) // per_rank
    return study_G + rank_G * num_studies


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
    return ContrastiveModel(image, text, config=stage)
