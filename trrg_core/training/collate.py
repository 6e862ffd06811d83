"""From a few studies (rows of `shards`) to one `Batch` of tensors, ready for either training stage.

B studies, V views, H W pixels, O observations, S sentence slots, P prompts, T tokens. A row is
`{"study_id", "views": [{"view_position", "jpeg"}], "report", "sentences": [{"text", "facts": [{"observation",
"assertion"}]}], "labels": {column: 1 | 0 | -1 | None}}`. Every random draw depends on the seed and the study alone,
never on the other studies of the batch.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trrg_core.config.settings import PretrainConfig, TrrgConfig
from trrg_core.imaging.transforms import letterbox
from trrg_core.labels import NOT_STATED, stated_codes
from trrg_core.training.batch import Batch, Reports, Sentences
from trrg_core.training.prompts import Prompts
from trrg_core.training.sentence_sampling import DrawnSentence, draw_prompt_pairs, draw_sentences
from trrg_core.training.tokenization import encode_texts, pad_ids, token_ends
from trrg_core.training.views import choose_views, view_id

_EMPTY = DrawnSentence("", ())


def collate_images(
    rows: Sequence[Mapping[str, Any]], *, observations: Sequence[str], config: PretrainConfig, seed: int = 0
) -> Batch:
    """Radiographs and labels of `rows`, all that perception and generation need; `labels` may be missing."""
    num_views, side = config.max_views, config.image_size_px
    pixels = np.zeros((len(rows), num_views, side, side), dtype=np.uint8)
    view_ids = torch.zeros((len(rows), num_views), dtype=torch.int64)
    view_mask = torch.zeros((len(rows), num_views), dtype=torch.bool)
    for index, row in enumerate(rows):
        for slot, view in enumerate(choose_views(row["views"], num_views=num_views)):
            pixels[index, slot] = letterbox(view["jpeg"], side_px=side)
            view_ids[index, slot] = view_id(view["view_position"])
            view_mask[index, slot] = True
    stated = [stated_codes(row.get("labels") or {}, observations) for row in rows]
    return Batch(
        study_ids=tuple(row["study_id"] for row in rows),
        has_prior=tuple(row.get("has_prior") for row in rows),
        seed=seed,
        pixels_BVHW=torch.from_numpy(pixels),
        view_ids_BV=view_ids,
        view_mask_BV=view_mask,
        stated_BO=torch.tensor(stated, dtype=torch.int8).reshape(len(rows), len(observations)),
    )


def collate_pretrain(
    rows: Sequence[Mapping[str, Any]],
    *,
    tokenizer: Any,
    prompts: Sequence[Prompts],
    observations: Sequence[str],
    config: PretrainConfig,
    seed: int,
) -> Batch:
    """Stage 1: radiographs with sentences drawn from each report, disease prompts, and hard negatives."""
    batch = collate_images(rows, observations=observations, config=config, seed=seed)
    slots: list[DrawnSentence] = []
    for row, stated in zip(rows, batch.stated_BO.tolist(), strict=True):
        rng = np.random.default_rng([seed, zlib.crc32(row["study_id"].encode())])
        drawn = draw_sentences(row, stated, prompts=prompts, observations=observations, config=config, rng=rng)
        slots.extend(drawn + [_EMPTY] * (config.sentences_per_study - len(drawn)))
    pairs = draw_prompt_pairs(prompts, np.random.default_rng(seed))
    return replace(batch, sentences=_sentences(slots, pairs, tokenizer, len(observations), config))


def collate_finetune(
    rows: Sequence[Mapping[str, Any]], *, tokenizer: Any, observations: Sequence[str], config: TrrgConfig, seed: int
) -> Batch:
    """Stage 2: radiographs, labels and the reference reports; rows must have a non-empty `report`.

    In a slice each token is weighted by its sentence's weight, so that denials can be learned less.
    """
    batch = collate_images(rows, observations=observations, config=config.pretrain, seed=seed)
    longest = config.finetune.max_report_tokens - 1
    texts = [row["report"] for row in rows]
    encoded = encode_texts(tokenizer, texts, max_tokens=longest, special_tokens=False)
    ids, mask = pad_ids([[*report, tokenizer.eos_token_id] for report in encoded], pad_id=tokenizer.pad_token_id)
    weights = mask.float()
    for index, row in enumerate(rows):
        if min(row.get("sentence_weights") or [1.0]) < 1:
            counts = _token_weights(row, tokenizer, longest)
            weights[index, : len(counts)] = torch.tensor(counts)
    return replace(batch, reports=Reports(ids_BT=ids, mask_BT=mask, weights_BT=weights))


def _token_weights(row: Mapping[str, Any], tokenizer: Any, max_tokens: int) -> list[float]:
    """The weight of each token of the report: that of its sentence, 1 outside the weighted sentences."""
    spans: list[tuple[int, int, float]] = []
    cursor = 0
    for sentence, weight in zip(row["sentences"], row["sentence_weights"], strict=True):
        start = row["report"].find(sentence["text"], cursor)
        if start >= 0:  # else of another section than the one that is learned
            cursor = start + len(sentence["text"])
            spans.append((start, cursor, weight))
    ends = token_ends(tokenizer, row["report"], max_tokens=max_tokens)
    return [next((weight for start, stop, weight in spans if start < end <= stop), 1.0) for end in ends]


def _sentences(
    slots: Sequence[DrawnSentence], pairs: list[str], tokenizer: Any, num_observations: int, config: PretrainConfig
) -> Sentences:
    def encode(texts: list[str]) -> tuple[Tensor, Tensor]:
        rows = encode_texts(tokenizer, texts, max_tokens=config.max_sentence_tokens)
        return pad_ids(rows, pad_id=tokenizer.pad_token_id)

    ids, mask = encode([slot.text for slot in slots])
    negative_ids, negative_mask = encode([slot.negative for slot in slots])
    prompt_ids, prompt_mask = encode(pairs)
    facts = [slot.facts or (NOT_STATED,) * num_observations for slot in slots]
    return Sentences(
        ids_ST=ids,
        mask_ST=mask,
        study_S=torch.arange(len(slots)) // config.sentences_per_study,
        facts_SO=torch.tensor(facts, dtype=torch.int8),
        valid_S=torch.tensor([bool(slot.text) for slot in slots]),
        negative_ids_ST=negative_ids,
        negative_mask_ST=negative_mask,
        has_negative_S=torch.tensor([bool(slot.negative) for slot in slots]),
        prompt_ids_PT=prompt_ids,
        prompt_mask_PT=prompt_mask,
    )
