"""What stage 1 makes of single studies: raw scores of findings, sides and degrees, margins of true over false texts.

Rows of `shards` in, plain rows out, which calibration and the metrics read. B studies, K texts, D joint size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from trrg_core.model.contrastive import ContrastiveModel
from trrg_core.model.encoders import ImageFeatures
from trrg_core.model.perception import DiseasePerception
from trrg_core.model.similarity import score_own
from trrg_core.report.facts import FactCodes
from trrg_core.training.collate import collate_images
from trrg_core.training.statement_pairs import PairMaker, StatementPair
from trrg_core.training.tokenization import encode_texts, pad_ids

Row = dict[str, Any]


@torch.no_grad()
def score_studies(
    contrastive: ContrastiveModel,
    perception: DiseasePerception,
    tokenizer: Any,
    rows: Sequence[Mapping[str, Any]],
    maker: PairMaker,
) -> list[Row]:
    """The scores of each study, uncalibrated; the models must be in eval mode, on one device.

    Args:
        contrastive: stage 1.
        perception: its prompts.
        tokenizer: of its sentences.
        rows: rows of `shards`.
        maker: makes the pairs of sentences to compare.

    Returns:
        One mapping per study: its ids, `scores`, `stated`, `sides` and `degrees` of each observation, `side_scores`
        (left and right in turn, None where the study shows no side of it), `degree_scores` (slight, moderate, severe),
        and `pairs`: observation, kind, source and assertion
        of each, its `margin`, and its `other_image_margin` with the image of the next study of `rows`, None where there
        is none; never the texts.
    """
    batch = collate_images(rows, observations=perception.observations, config=contrastive.config)
    features = contrastive.encode_images(batch.to(contrastive.image.to_joint.weight.device))
    perceived = perception(features)
    facts = [FactCodes(*codes) for codes in zip(*(part.tolist() for part in batch.facts), strict=True)]
    pairs = [maker.pairs(dict(row), codes) for row, codes in zip(rows, facts, strict=True)]
    margins = _margins(contrastive, tokenizer, features, pairs)
    return [
        {
            "study_id": row["study_id"],
            "subject_id": row["subject_id"],
            "scores": score,
            "side_scores": [
                value if shown else None for sides, shown in zip(side_score, has_side, strict=True) for value in sides
            ],
            "stated": list(codes.assertions),
            "sides": list(codes.sides),
            "degree_scores": [value for degrees in degree_score for value in degrees],
            "degrees": list(codes.degrees),
            "pairs": [_without_texts(pair) | margins for pair, margins in zip(of_study, found, strict=True)],
        }
        for row, score, side_score, has_side, degree_score, codes, of_study, found in zip(
            rows,
            perceived.score_BO.tolist(),
            perceived.side_score_BO2.tolist(),
            perceived.has_side_BO.tolist(),
            perceived.degree_score_BO3.tolist(),
            facts,
            pairs,
            margins,
            strict=True,
        )
    ]


def _without_texts(pair: StatementPair) -> Row:
    return {name: value for name, value in asdict(pair).items() if not name.endswith("_text")}


def _margins(
    contrastive: ContrastiveModel, tokenizer: Any, features: ImageFeatures, pairs: Sequence[Sequence[StatementPair]]
) -> list[list[dict[str, float | None]]]:
    """How much better the true sentence of each pair fits its study than the false one, cosine difference.

    Beside it the same with the image of another study: what the texts alone give away.
    """
    texts = list(dict.fromkeys(text for of_study in pairs for pair in of_study for text in _texts(pair)))
    if not texts:
        return [[] for _ in pairs]
    encoded = encode_texts(tokenizer, texts, max_tokens=contrastive.config.max_sentence_tokens)
    ids, mask = pad_ids(encoded, pad_id=tokenizer.pad_token_id)
    device = features.study_BD.device
    text_SD = contrastive.text(ids.to(device), mask.to(device))
    index = {text: at for at, text in enumerate(texts)}
    found: list[list[dict[str, float | None]]] = []
    for study, of_study in enumerate(pairs):
        pair_KD = text_SD[[index[text] for pair in of_study for text in _texts(pair)]]
        own = _fit_differences(contrastive, pair_KD, features, study)
        other: list[float | None] = [None] * len(own)
        if len(pairs) > 1:
            other = _fit_differences(contrastive, pair_KD, features, (study + 1) % len(pairs))
        both = zip(own, other, strict=True)
        found.append([{"margin": margin, "other_image_margin": blind} for margin, blind in both])
    return found


def _fit_differences(
    contrastive: ContrastiveModel, pair_KD: Tensor, features: ImageFeatures, study: int
) -> list[float | None]:
    """The similarity with one study of the first text of each pair minus that of the second."""
    one = features._replace(
        study_BD=features.study_BD[study : study + 1],
        patches_BND=features.patches_BND[study : study + 1],
        patch_mask_BN=features.patch_mask_BN[study : study + 1],
    )
    fit = score_own(pair_KD[None], one, sharpness=contrastive.sharpness)[0].reshape(-1, 2)
    return list((fit[:, 0] - fit[:, 1]).tolist())


def _texts(pair: StatementPair) -> tuple[str, str]:
    return pair.true_text, pair.false_text
