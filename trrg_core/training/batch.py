"""From a few studies (rows of a shard) to one `Batch` of tensors, ready for either training stage.

B studies, V views, H W pixels, O observations, S sentence slots, P prompts, T tokens. A row is
`{"study_id", "views": [{"view_position", "jpeg"}], "report", "sentences": [{"text", "facts": [{"observation",
"assertion"}]}], "labels": {column: 1 | 0 | -1 | None}}`. Every draw depends on the seed and the study alone,
never on the neighbours in the batch.
"""

# ruff: noqa: N802, N815 -- names carry their axes

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from trrg_core.config.settings import PretrainConfig, TrrgConfig
from trrg_core.imaging.transforms import letterbox
from trrg_core.labels import Assertion, Label, column_name
from trrg_core.training.prompts import Prompts
from trrg_core.training.tokenization import encode_texts, pad_ids, token_ends

Row = Mapping[str, Any]
_Statement = tuple[str, tuple[int, ...]]  # a sentence, and what it states of each observation

# What is stated of an observation, as a small integer; 0 stands for "not mentioned".
NOT_STATED, STATED_PRESENT, STATED_ABSENT, STATED_UNCERTAIN = 0, 1, 2, 3
_CODE_OF_ASSERTION = {
    Assertion.PRESENT: STATED_PRESENT,
    Assertion.ABSENT: STATED_ABSENT,
    Assertion.UNCERTAIN: STATED_UNCERTAIN,
}
_CODE_OF_LABEL = {
    Label.POSITIVE: STATED_PRESENT,
    Label.NEGATIVE: STATED_ABSENT,
    Label.UNCERTAIN: STATED_UNCERTAIN,
}
# By definition null for "No Finding" says that something abnormal is stated, which is a denial of it.
_NULL_IS_DENIAL = "No Finding"

VIEW_POSITIONS = ("", "PA", "AP", "LATERAL", "LL", "OTHER")
# One frontal and one lateral say more than two frontals, so a second view of the same kind comes later.
_VIEW_RANK = {"PA": 0, "AP": 1, "LATERAL": 0, "LL": 1}
_LATERAL = ("LATERAL", "LL")


@dataclass(frozen=True, kw_only=True)
class Sentences:
    """Sentences of the batch's studies, S = B * sentences per study; empty slots have `valid_S` False.

    `facts_SO` holds what each sentence states (0 not mentioned, 1 present, 2 absent, 3 uncertain). The twin of a
    sentence states the opposite of one of its facts; `has_twin_S` is False where there is none. Beside them one
    affirming prompt of each observation, then one denying prompt of each, P = 2 * O.
    """

    ids_ST: Tensor
    mask_ST: Tensor
    study_S: Tensor
    facts_SO: Tensor
    valid_S: Tensor
    twin_ids_ST: Tensor
    twin_mask_ST: Tensor
    has_twin_S: Tensor
    prompt_ids_PT: Tensor
    prompt_mask_PT: Tensor


@dataclass(frozen=True, kw_only=True)
class Reports:
    """Reference reports with their end token, right-padded; `weights_BT` is how much the loss counts each token."""

    ids_BT: Tensor
    mask_BT: Tensor
    weights_BT: Tensor


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B studies. `stated_BO` is int8: 0 not mentioned, 1 present, 2 absent, 3 uncertain; pixels are uint8.

    `has_prior` says of each study whether there is an earlier one, None where nobody knows.
    """

    study_ids: tuple[str, ...]
    has_prior: tuple[bool | None, ...]
    seed: int
    pixels_BVHW: Tensor
    view_ids_BV: Tensor
    view_mask_BV: Tensor
    stated_BO: Tensor
    sentences: Sentences | None = None
    reports: Reports | None = None

    def __len__(self) -> int:
        return len(self.study_ids)

    @property
    def labels_BO(self) -> Tensor:
        """Soft targets: 1 present, 0 absent, 0.5 uncertain; 0 where not mentioned (see `label_mask_BO`)."""
        return (self.stated_BO == STATED_PRESENT).float() + 0.5 * (self.stated_BO == STATED_UNCERTAIN).float()

    @property
    def label_mask_BO(self) -> Tensor:
        """1 where the report states something of the observation, else 0."""
        return (self.stated_BO != NOT_STATED).float()

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch with its tensors on `device`."""
        return replace(self, **_moved(self, device))


def _moved(value: Any, device: torch.device | str) -> dict[str, Any]:
    moved: dict[str, Any] = {}
    for field in fields(value):
        item = getattr(value, field.name)
        if isinstance(item, Tensor):
            moved[field.name] = item.to(device, non_blocking=True)
        elif is_dataclass(item) and not isinstance(item, type):
            moved[field.name] = replace(item, **_moved(item, device))
    return moved


def collate_images(rows: Sequence[Row], *, observations: Sequence[str], config: PretrainConfig, seed: int = 0) -> Batch:
    """Radiographs and labels of `rows`: enough to perceive and to generate. Labels may be absent (use)."""
    num_views, side = config.max_views, config.image_size_px
    pixels = np.zeros((len(rows), num_views, side, side), dtype=np.uint8)
    view_ids = torch.zeros((len(rows), num_views), dtype=torch.int64)
    view_mask = torch.zeros((len(rows), num_views), dtype=torch.bool)
    for index, row in enumerate(rows):
        for slot, view in enumerate(choose_views(row["views"], num_views=num_views)):
            pixels[index, slot] = letterbox(view["jpeg"], side_px=side)
            view_ids[index, slot] = _view_id(view["view_position"])
            view_mask[index, slot] = True
    stated = [_stated(row.get("labels") or {}, observations) for row in rows]
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
    rows: Sequence[Row],
    *,
    tokenizer: Any,
    prompts: Sequence[Prompts],
    observations: Sequence[str],
    config: PretrainConfig,
    seed: int,
) -> Batch:
    """Stage 1: radiographs with sentences drawn from each report, disease prompts, and negated twins."""
    batch = collate_images(rows, observations=observations, config=config, seed=seed)
    slots: list[_Slot] = []
    for row, stated in zip(rows, batch.stated_BO.tolist(), strict=True):
        rng = np.random.default_rng([seed, zlib.crc32(row["study_id"].encode())])
        drawn = draw_sentences(row, stated, prompts=prompts, observations=observations, config=config, rng=rng)
        slots.extend(drawn + [_EMPTY] * (config.sentences_per_study - len(drawn)))
    pairs = _draw_prompt_pairs(prompts, np.random.default_rng(seed))
    return replace(batch, sentences=_sentences(slots, pairs, tokenizer, len(observations), config))


def collate_finetune(
    rows: Sequence[Row], *, tokenizer: Any, observations: Sequence[str], config: TrrgConfig, seed: int
) -> Batch:
    """Stage 2: radiographs, labels and the reference reports; rows must have a non-empty `report`.

    Through a slice a token counts as much as the weight of its sentence says, so that denials can be learned less.
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


def _token_weights(row: Row, tokenizer: Any, max_tokens: int) -> list[float]:
    """How much each token of the report counts: what its sentence weighs, 1 outside the weighed sentences."""
    spans: list[tuple[int, int, float]] = []
    cursor = 0
    for sentence, weight in zip(row["sentences"], row["sentence_weights"], strict=True):
        start = row["report"].find(sentence["text"], cursor)
        if start >= 0:  # else of another section than the one that is learned
            cursor = start + len(sentence["text"])
            spans.append((start, cursor, weight))
    ends = token_ends(tokenizer, row["report"], max_tokens=max_tokens)
    return [next((weight for start, stop, weight in spans if start < end <= stop), 1.0) for end in ends]


def choose_views(views: Sequence[Row], *, num_views: int) -> list[Row]:
    """At most `num_views` views: the best frontal, the best lateral, then the others in their own order."""
    seen = {"frontal": 0, "lateral": 0}
    ranked: list[tuple[int, int, Row]] = []
    order = sorted(range(len(views)), key=lambda index: (_VIEW_RANK.get(views[index]["view_position"], 2), index))
    for index in order:
        kind = "lateral" if views[index]["view_position"] in _LATERAL else "frontal"
        ranked.append((seen[kind], kind == "lateral", views[index]))
        seen[kind] += 1
    return [view for _, _, view in sorted(ranked, key=lambda item: item[:2])[:num_views]]


@dataclass(frozen=True)
class _Slot:
    text: str
    facts: tuple[int, ...]
    twin: str = ""


_EMPTY = _Slot("", ())


def draw_sentences(
    row: Row,
    stated: Sequence[int],
    *,
    prompts: Sequence[Prompts],
    observations: Sequence[str],
    config: PretrainConfig,
    rng: Generator,
) -> list[_Slot]:
    """Sentences of one study, without replacement: disease prompts first, then its own up to the negation cap.

    Only sentences that state a fact take part. A normal study may fill fewer slots than there are: the cap on
    negated sentences is kept even then, or the many normal studies would drown the findings.
    """
    total = config.sentences_per_study
    most_negated = max(1, int(config.max_negated_share * total))
    chosen = _draw_prompts(stated, prompts, round(config.prompt_share * total), config.silence_share, rng)
    num_negated = sum(_is_negated(facts) for _, facts in chosen)
    own = _stating_sentences(row, observations, rng)
    for index in rng.permutation(len(own)):
        text, facts = own[index]
        negated = _is_negated(facts)
        if len(chosen) == total or (negated and num_negated >= most_negated):
            continue
        chosen.append((text, facts))
        num_negated += negated
    return [_Slot(text, facts, _draw_twin(facts, prompts, rng)) for text, facts in chosen]


def _draw_prompts(
    stated: Sequence[int], prompts: Sequence[Prompts], count: int, silence_share: float, rng: Generator
) -> list[_Statement]:
    """Prompts that the labels state: half affirm, half deny, as far as there are any.

    Some findings are never denied in writing; without a denial drawn for silence their negative prompt would mean
    nothing. Such a draw is as weak as the silence: it never touches the labels.
    """
    present, absent, silent = (
        [int(index) for index in rng.permutation([i for i, code in enumerate(stated) if code == kind])]
        for kind in (STATED_PRESENT, STATED_ABSENT, NOT_STATED)
    )
    affirmed = present[: (count + 1) // 2]
    num_denied = count - len(affirmed)
    from_silence = silent[: int(rng.binomial(num_denied, silence_share))]
    denied = (from_silence + absent + silent[len(from_silence) :])[:num_denied]
    drawn: list[_Statement] = []
    for index, code in [(i, STATED_PRESENT) for i in affirmed] + [(i, STATED_ABSENT) for i in denied]:
        pool = prompts[index].present if code == STATED_PRESENT else prompts[index].absent
        facts = tuple(code if other == index else NOT_STATED for other in range(len(stated)))
        drawn.append((str(rng.choice(pool)), facts))
    return drawn


def _draw_twin(facts: Sequence[int], prompts: Sequence[Prompts], rng: Generator) -> str:
    clear = [index for index, code in enumerate(facts) if code in (STATED_PRESENT, STATED_ABSENT)]
    if not clear:
        return ""
    index = int(rng.choice(clear))
    opposite = prompts[index].absent if facts[index] == STATED_PRESENT else prompts[index].present
    return str(rng.choice(opposite))


def _draw_prompt_pairs(prompts: Sequence[Prompts], rng: Generator) -> list[str]:
    present = [str(rng.choice(entry.present)) for entry in prompts]
    return present + [str(rng.choice(entry.absent)) for entry in prompts]


def _stating_sentences(row: Row, observations: Sequence[str], rng: Generator) -> list[_Statement]:
    """The sentences that state a fact; through a slice, each with the chance that its weight gives it."""
    found: list[_Statement] = []
    weights = row.get("sentence_weights") or [1.0] * len(row["sentences"])
    for sentence, weight in zip(row["sentences"], weights, strict=True):
        if weight < 1 and rng.random() >= weight:
            continue
        facts = [NOT_STATED] * len(observations)
        for fact in sentence["facts"]:
            if fact["observation"] in observations:
                facts[observations.index(fact["observation"])] = _CODE_OF_ASSERTION[Assertion(fact["assertion"])]
        if any(facts):
            found.append((sentence["text"], tuple(facts)))
    return found


def _is_negated(facts: Sequence[int]) -> bool:
    return all(code in (NOT_STATED, STATED_ABSENT) for code in facts)


def _sentences(
    slots: Sequence[_Slot], pairs: list[str], tokenizer: Any, num_observations: int, config: PretrainConfig
) -> Sentences:
    def encode(texts: list[str]) -> tuple[Tensor, Tensor]:
        rows = encode_texts(tokenizer, texts, max_tokens=config.max_sentence_tokens)
        return pad_ids(rows, pad_id=tokenizer.pad_token_id)

    ids, mask = encode([slot.text for slot in slots])
    twin_ids, twin_mask = encode([slot.twin for slot in slots])
    prompt_ids, prompt_mask = encode(pairs)
    facts = [slot.facts or (NOT_STATED,) * num_observations for slot in slots]
    return Sentences(
        ids_ST=ids,
        mask_ST=mask,
        study_S=torch.arange(len(slots)) // config.sentences_per_study,
        facts_SO=torch.tensor(facts, dtype=torch.int8),
        valid_S=torch.tensor([bool(slot.text) for slot in slots]),
        twin_ids_ST=twin_ids,
        twin_mask_ST=twin_mask,
        has_twin_S=torch.tensor([bool(slot.twin) for slot in slots]),
        prompt_ids_PT=prompt_ids,
        prompt_mask_PT=prompt_mask,
    )


def _stated(labels: Mapping[str, int | None], observations: Sequence[str]) -> list[int]:
    return [_stated_code(labels, name) for name in observations]


def _stated_code(labels: Mapping[str, int | None], observation: str) -> int:
    label = labels.get(column_name(observation))
    if label is not None:
        return _CODE_OF_LABEL[Label(label)]
    return STATED_ABSENT if observation == _NULL_IS_DENIAL and labels else NOT_STATED


def _view_id(view_position: str) -> int:
    return VIEW_POSITIONS.index(view_position if view_position in VIEW_POSITIONS else "OTHER")
