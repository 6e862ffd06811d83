"""Batches of invented pixels, tokens and facts, for benches of whole models."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from trrg_core.config.settings import TrrgConfig
from trrg_core.training.batch import Batch, ClueEdits, Reports, Sentences
from trrg_core.training.fact_tensors import Facts

VOCABULARY = 30_522  # of PubMedBERT


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a step trains on, per study, and how the loss is made of it."""

    name: str
    num_studies: int
    num_views: int
    num_sentences: int
    has_negatives: bool

    @property
    def settings(self) -> list[str]:
        """The settings that differ from those of the preset."""
        return [] if self.has_negatives else ["pretrain.prompt_supervision=false", "pretrain.hard_negatives=[]"]


def invent_batch(load: Load, config: TrrgConfig, num_observations: int, seed: int) -> Batch:
    """A batch of random pixels, tokens and facts; every text has as many tokens as a sentence may have."""
    stage = config.pretrain
    draw = torch.Generator().manual_seed(seed)

    def integers(high: int, *shape: int, dtype: torch.dtype = torch.int64) -> torch.Tensor:
        return torch.randint(0, high, shape, generator=draw, dtype=dtype)

    def facts(num: int) -> Facts:
        shape = (num, num_observations)
        return Facts(*(integers(high, *shape, dtype=torch.int8) for high in (4, 4, 4, 8)))

    views = (load.num_studies, load.num_views)
    num_slots = load.num_studies * load.num_sentences
    num_negatives = num_slots if load.has_negatives else 0
    num_sided = num_observations // 2
    num_prompts = 2 * num_observations + 2 * num_sided
    texts = {
        name: (integers(VOCABULARY, num, stage.max_sentence_tokens), torch.ones(num, stage.max_sentence_tokens) > 0)
        for name, num in (("sentence", num_slots), ("negative", max(1, num_negatives)), ("prompt", num_prompts))
    }
    # without negatives one stands in, which no loss counts: a text encoder takes no empty batch
    slots = torch.arange(max(1, num_negatives))
    return Batch(
        study_ids=tuple(str(index) for index in range(load.num_studies)),
        has_prior=(None,) * load.num_studies,
        seed=seed,
        pixels_BVHW=integers(256, *views, stage.image_size_px, stage.image_size_px, dtype=torch.uint8),
        view_ids_BV=integers(4, *views),
        view_mask_BV=torch.ones(views, dtype=torch.bool),
        facts=facts(load.num_studies),
        sentences=Sentences(
            ids_ST=texts["sentence"][0],
            mask_ST=texts["sentence"][1],
            study_S=torch.arange(num_slots) // load.num_sentences,
            facts=facts(num_slots),
            valid_S=torch.ones(num_slots, dtype=torch.bool),
            negative_ids_FT=texts["negative"][0],
            negative_mask_FT=texts["negative"][1],
            negative_slot_F=slots,
            negative_kind_F=torch.zeros(len(slots), dtype=torch.int64),
            prompt_ids_PT=texts["prompt"][0],
            prompt_mask_PT=texts["prompt"][1],
            sided_E=torch.arange(num_sided),
            graded_J=torch.arange(0),
        ),
    )


def with_reports(batch: Batch, config: TrrgConfig, seed: int) -> Batch:
    """`batch` with reports of random tokens, and with some clues given and some hidden."""
    from infra.bench.gpu_finetune import CORPUS  # imports the LLM, which stage 1 does not need

    stage = config.finetune
    rng, draw = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    lengths = torch.tensor(replace(CORPUS, longest=stage.max_report_tokens).draw(len(batch), rng))
    mask_BT = torch.arange(int(lengths.max())) < lengths[:, None]
    ids_BT = torch.randint(3, stage.vocabulary_size, tuple(mask_BT.shape), generator=draw)
    shape = tuple(batch.facts.assertion_NO.shape)
    given_BO, hidden_BO = (torch.rand(shape, generator=draw) < share for share in (0.1, 0.1))
    return replace(
        batch,
        sentences=None,
        reports=Reports(ids_BT=ids_BT * mask_BT, mask_BT=mask_BT, weights_BT=mask_BT.float()),
        clue_edits=ClueEdits(given_BO=given_BO, hidden_BO=hidden_BO),
    )
