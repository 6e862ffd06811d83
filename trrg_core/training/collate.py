"""From a few studies (rows of `shards`) to one `Batch` of tensors, ready for either training stage.

B studies, V views, H W pixels, O observations, S sentence slots, P prompts, T tokens. A row is
`{"study_id", "views": [{"view_position", "jpeg"}], "report", "sentences": [{"text", "facts": [{"observation",
"assertion", "laterality", "severity"}], "flips": [{"kind", "observation", "text"}]}], "labels": {column: 1 | 0 | -1 |
None}}`. Every random draw depends on the seed and the study alone,
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
from trrg_core.labels import stated_codes
from trrg_core.training.batch import NEGATIVE_KINDS, Batch, Reports, Sentences
from trrg_core.training.facts import FactCodes, facts_tensor, no_facts, study_facts
from trrg_core.training.prompts import Prompts, load_prompts
from trrg_core.training.sentence_sampling import DrawnSentence, draw_prompts, draw_sentences
from trrg_core.training.tokenization import encode_texts, pad_ids, token_ends
from trrg_core.training.views import choose_views, is_frontal, view_id

_EMPTY = DrawnSentence("", None)


def collate_images(
    rows: Sequence[Mapping[str, Any]], *, observations: Sequence[str], config: PretrainConfig, seed: int = 0
) -> Batch:
    """Radiographs and facts of `rows`, all that perception and generation need.

    `labels` and `sentences` may be missing: nothing is stated then.
    """
    num_views, side = config.max_views, config.image_size_px
    pixels = np.zeros((len(rows), num_views, side, side), dtype=np.uint8)
    view_ids = torch.zeros((len(rows), num_views), dtype=torch.int64)
    view_mask = torch.zeros((len(rows), num_views), dtype=torch.bool)
    for index, row in enumerate(rows):
        for slot, view in enumerate(choose_views(row["views"], num_views=num_views)):
            pixels[index, slot] = letterbox(view["jpeg"], side_px=side)
            view_ids[index, slot] = view_id(view["view_position"])
            view_mask[index, slot] = True
    sided = [prompt.has_side for prompt in load_prompts(observations)]
    facts = [_facts(row, observations, sided) for row in rows]
    return Batch(
        study_ids=tuple(row["study_id"] for row in rows),
        has_prior=tuple(row.get("has_prior") for row in rows),
        seed=seed,
        pixels_BVHW=torch.from_numpy(pixels),
        view_ids_BV=view_ids,
        view_mask_BV=view_mask,
        facts=facts_tensor(facts, len(observations)),
    )


def _facts(row: Mapping[str, Any], observations: Sequence[str], sided: Sequence[bool]) -> FactCodes:
    """What the study states; no sides if all its views are lateral, where left and right lie over each other."""
    if not any(is_frontal(view["view_position"]) for view in row["views"]):
        sided = [False] * len(observations)
    stated = stated_codes(row.get("labels") or {}, observations)
    return study_facts(row.get("sentences") or (), stated, observations, sided=sided)


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
    of_study = zip(*(part.tolist() for part in batch.facts), strict=True)
    for row, codes in zip(rows, of_study, strict=True):
        rng = np.random.default_rng([seed, zlib.crc32(row["study_id"].encode())])
        drawn = draw_sentences(
            row, FactCodes(*codes), prompts=prompts, observations=observations, config=config, rng=rng
        )
        slots.extend(drawn + [_EMPTY] * (config.sentences_per_study - len(drawn)))
    drawn_prompts = draw_prompts(prompts, np.random.default_rng(seed))
    sided = [index for index, prompt in enumerate(prompts) if prompt.has_side]
    return replace(batch, sentences=_sentences(slots, drawn_prompts, sided, tokenizer, config))


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
    slots: Sequence[DrawnSentence], prompts: list[str], sided: list[int], tokenizer: Any, config: PretrainConfig
) -> Sentences:
    def encode(texts: list[str]) -> tuple[Tensor, Tensor]:
        rows = encode_texts(tokenizer, texts, max_tokens=config.max_sentence_tokens)
        return pad_ids(rows, pad_id=tokenizer.pad_token_id)

    ids, mask = encode([slot.text for slot in slots])
    negatives = [(index, negative) for index, slot in enumerate(slots) for negative in slot.negatives]
    negative_ids, negative_mask = encode([negative.text for _, negative in negatives])
    prompt_ids, prompt_mask = encode(prompts)
    num_observations = len(prompts) // 2 - len(sided)
    return Sentences(
        ids_ST=ids,
        mask_ST=mask,
        study_S=torch.arange(len(slots)) // config.sentences_per_study,
        facts=facts_tensor([slot.facts or no_facts(num_observations) for slot in slots], num_observations),
        valid_S=torch.tensor([bool(slot.text) for slot in slots]),
        negative_ids_FT=negative_ids,
        negative_mask_FT=negative_mask,
        negative_slot_F=torch.tensor([slot for slot, _ in negatives], dtype=torch.int64),
        negative_kind_F=torch.tensor([NEGATIVE_KINDS.index(item.kind) for _, item in negatives], dtype=torch.int64),
        prompt_ids_PT=prompt_ids,
        prompt_mask_PT=prompt_mask,
        sided_E=torch.tensor(sided, dtype=torch.int64),
    )
