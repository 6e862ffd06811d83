"""Similarity of texts and studies in the joint space, global and local.

B studies, S texts, K texts of a study, N patches, D joint size.
"""

import torch
from torch import Tensor, nn

from trrg_core.model.encoders import ImageFeatures, masked_softmax


class LocalSimilarity(nn.Module):
    """The cosine `[S,B]` of `local_similarity`, as a module that can be compiled.

    In a step of many texts and studies its scores of all patches are far larger than all else behind the encoders.
    """

    def forward(self, text_SD: Tensor, patches_BND: Tensor, patch_mask_BN: Tensor, sharpness: Tensor) -> Tensor:
        """See `local_similarity`."""
        return local_similarity(text_SD, patches_BND, patch_mask_BN, sharpness)[0]


def local_similarity(
    text_SD: Tensor, patches_BND: Tensor, patch_mask_BN: Tensor, sharpness: Tensor
) -> tuple[Tensor, Tensor]:
    """Attention of each text over the patches of each study: cosine `[S,B]` and visual vector `[S,B,D]`."""
    scores_SBN = torch.einsum("sd,bnd->sbn", text_SD, patches_BND)
    weights_SBN = masked_softmax(scores_SBN * sharpness, patch_mask_BN[None])
    visual_SBD = torch.einsum("sbn,bnd->sbd", weights_SBN, patches_BND)
    visual_SBD = nn.functional.normalize(visual_SBD, dim=-1)
    return torch.einsum("sd,sbd->sb", text_SD, visual_SBD), visual_SBD


def score_texts(text_SD: Tensor, features: ImageFeatures, *, sharpness: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of global and local similarity `[S,B]`, and each text's visual vector per study `[S,B,D]`."""
    local_SB, visual_SBD = local_similarity(text_SD, features.patches_BND, features.patch_mask_BN, sharpness)
    return (text_SD @ features.study_BD.T + local_SB) / 2, visual_SBD


def score_own(text_BKD: Tensor, features: ImageFeatures, *, sharpness: Tensor) -> Tensor:
    """As `score_texts`, but the K texts of each study are scored with that study only: `[B,K]`."""
    scores_BKN = text_BKD @ features.patches_BND.transpose(1, 2)
    weights_BKN = masked_softmax(scores_BKN * sharpness, features.patch_mask_BN[:, None])
    visual_BKD = nn.functional.normalize(weights_BKN @ features.patches_BND, dim=-1)
    return ((text_BKD * features.study_BD[:, None]).sum(-1) + (text_BKD * visual_BKD).sum(-1)) / 2
