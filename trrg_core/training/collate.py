"""From a few studies (rows of `shards`) to one `Batch` of tensors, ready for either training stage.

B studies, V views, H W pixels, O observations, S sentence slots, P prompts, T tokens. A row is
`{"study_id", "views": [{"view_position", "jpeg"}], "indication", "prior_report", "report", "sentences": [{"text",
"facts": [{"observation", "assertion", "laterality", "severity"}], "flips": [{"kind", "observation", "text"}]}],
"labels": {column: 1 | 0 | -1 | None}}`. Every random draw depends on the seed and the study alone,
never on the other studies of the batch.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trrg_core.config.settings import FinetuneConfig, PretrainConfig, TrrgConfig
from trrg_core.imaging.transforms import letterbox_all
from trrg_core.labels import Assertion, stated_codes
from trrg_core.report.facts import FactCodes, no_facts, study_facts
from trrg_core.training.batch import NEGATIVE_KINDS, Batch, ClueEdits, Reports, Sentences
from trrg_core.training.counterfactuals import ReportEditor
from trrg_core.training.fact_tensors import facts_tensor
from trrg_core.training.prompts import Prompts, load_prompts
from trrg_core.training.report_segments import Segment, findings_first, join_segments, segment_ends
from trrg_core.training.report_targets import write_target
from trrg_core.training.sentence_sampling import DrawnSentence, draw_prompts, draw_sentences
from trrg_core.training.tokenization import encode_texts, encode_with_ends, pad_ids
from trrg_core.training.views import choose_views, is_frontal, view_id

_EMPTY = DrawnSentence("", None)


def collate_images(
    rows: Sequence[Mapping[str, Any]], *, observations: Sequence[str], config: PretrainConfig, seed: int = 0
) -> Batch:
    """Radiographs and facts of `rows`, all that perception and generation need.

    `labels`, `sentences`, `indication` and `prior_report` may be missing: nothing is stated then.
    """
    num_views, side = config.max_views, config.image_size_px
    pixels = np.zeros((len(rows), num_views, side, side), dtype=np.uint8)
    view_ids = torch.zeros((len(rows), num_views), dtype=torch.int64)
    view_mask = torch.zeros((len(rows), num_views), dtype=torch.bool)
    jpegs: list[bytes] = []
    for index, row in enumerate(rows):
        for slot, view in enumerate(choose_views(row["views"], num_views=num_views)):
            jpegs.append(view["jpeg"])
            view_ids[index, slot] = view_id(view["view_position"])
            view_mask[index, slot] = True
    for at, square in zip(view_mask.nonzero().tolist(), letterbox_all(jpegs, side_px=side), strict=True):
        pixels[tuple(at)] = square
    sided = [prompt.has_side for prompt in load_prompts(observations)]
    facts = [_facts(row, observations, sided) for row in rows]
    return Batch(
        study_ids=tuple(row["study_id"] for row in rows),
        has_prior=tuple(row.get("has_prior") for row in rows),
        indications=tuple(row.get("indication") or "" for row in rows),
        prior_reports=tuple(row.get("prior_report") or "" for row in rows),
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
    return replace(batch, sentences=_sentences(slots, drawn_prompts, prompts, tokenizer, config))


def collate_finetune(
    rows: Sequence[Mapping[str, Any]],
    *,
    tokenizer: Any,
    observations: Sequence[str],
    config: TrrgConfig,
    seed: int,
    editor: ReportEditor | None = None,
) -> Batch:
    """Stage 2: radiographs, labels and reports; rows must have a non-empty `report`.

    Each token is weighted by its sentence: that of a slice, so that denials can be learned less, and
    `finetune.affirmed_weight` where the sentence affirms a finding. A report that is cut has no end token.

    Args:
        rows: rows of `shards`.
        tokenizer: of the LLM.
        observations: names, in the order of the codes.
        config: of both stages.
        seed: of the step.
        editor: makes counterfactual reports in the shares that `finetune` sets; None makes none.
    """
    batch = collate_images(rows, observations=observations, config=config.pretrain, seed=seed)
    of_study = zip(*(part.tolist() for part in batch.facts), strict=True)
    written = [
        write_target(
            row,
            FactCodes(*codes),
            editor=editor,
            config=config.finetune,
            observations=observations,
            rng=np.random.default_rng([seed, zlib.crc32(row["study_id"].encode())]),
        )
        for row, codes in zip(rows, of_study, strict=True)
    ]

    def in_order(segments: Sequence[Segment]) -> Sequence[Segment]:
        is_written = config.finetune.sentence_order == "written"
        return segments if is_written else findings_first(segments, observations)

    return replace(
        batch,
        facts=facts_tensor([target.facts for target in written], len(observations)),
        reports=_reports([in_order(target.segments) for target in written], tokenizer, config.finetune),
        clue_edits=ClueEdits(
            given_BO=torch.tensor([target.given for target in written]).reshape(len(written), -1),
            hidden_BO=torch.tensor([target.hidden for target in written]).reshape(len(written), -1),
        ),
    )


def _reports(reports: Sequence[Sequence[Segment]], tokenizer: Any, config: FinetuneConfig) -> Reports:
    """The texts as tokens with their weights, each with an end token unless it is cut."""
    rows: list[list[int]] = []
    weights: list[list[float]] = []
    for segments in reports:
        ids, ends, is_cut = encode_with_ends(
            tokenizer, join_segments(segments), max_tokens=config.max_report_tokens - 1
        )
        bounds = np.array(segment_ends(segments))
        # a token is of the segment that it ends in
        of_token = np.searchsorted(bounds, np.array(ends, dtype=np.int64)).clip(max=len(segments) - 1)
        of_segment = [_segment_weight(segment, config.affirmed_weight) for segment in segments]
        end = [] if is_cut else [tokenizer.eos_token_id]
        rows.append([*ids, *end])
        weights.append([of_segment[index] for index in of_token] + [1.0] * len(end))
    ids_BT, mask_BT = pad_ids(rows, pad_id=tokenizer.pad_token_id)
    weights_BT = torch.zeros(mask_BT.shape)
    weights_BT[mask_BT] = torch.tensor([weight for row in weights for weight in row])
    return Reports(ids_BT=ids_BT, mask_BT=mask_BT, weights_BT=weights_BT)


def _segment_weight(segment: Segment, affirmed_weight: float) -> float:
    affirms = any(fact["assertion"] == Assertion.PRESENT for fact in segment.facts)
    return segment.weight * (affirmed_weight if affirms else 1.0)


def _sentences(
    slots: Sequence[DrawnSentence],
    drawn_prompts: list[str],
    prompts: Sequence[Prompts],
    tokenizer: Any,
    config: PretrainConfig,
) -> Sentences:
    def encode(texts: list[str]) -> tuple[Tensor, Tensor]:
        rows = encode_texts(tokenizer, texts, max_tokens=config.max_sentence_tokens)
        return pad_ids(rows, pad_id=tokenizer.pad_token_id)

    ids, mask = encode([slot.text for slot in slots])
    negatives = [(index, negative) for index, slot in enumerate(slots) for negative in slot.negatives]
    negative_ids, negative_mask = encode([negative.text for _, negative in negatives])
    prompt_ids, prompt_mask = encode(drawn_prompts)
    num_observations = len(prompts)
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
        sided_E=_indices(prompt.has_side for prompt in prompts),
        graded_J=_indices(prompt.has_degree for prompt in prompts),
    )


def _indices(chosen: Iterable[bool]) -> Tensor:
    return torch.tensor([index for index, is_chosen in enumerate(chosen) if is_chosen], dtype=torch.int64)
