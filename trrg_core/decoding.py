"""Reports from radiographs: greedy by default, no forced length, no repetition penalty.

A forced minimum length pads a normal report with invented findings, and a repetition penalty punishes the
repeated "no ..." of a truthful one.
"""

from dataclasses import dataclass, field

import torch
from transformers import GenerationConfig

from trrg_core.batch import Batch
from trrg_core.model.clues import clue_probabilities
from trrg_core.model.generator import ReportGenerator
from trrg_core.tokenization import decode_ids


@dataclass(frozen=True, kw_only=True)
class GeneratedReport:
    """A hypothesis, and the calibrated clue probabilities by observation that it was written from."""

    study_id: str
    text: str
    clues: dict[str, float] = field(default_factory=dict)


@torch.no_grad()
def generate_reports(
    generator: ReportGenerator, batch: Batch, *, max_new_tokens: int, num_beams: int = 1
) -> list[GeneratedReport]:
    """One report per study, in the batch's order; the generator is put into eval mode.

    A study's report does not depend on its neighbours in the batch, nor on their number.
    """
    generator.eval()
    prefix = generator.prefix(batch)
    tokenizer = generator.tokenizer
    ids_BT = generator.llm.generate(
        inputs_embeds=prefix.embeddings_BLH,
        attention_mask=prefix.mask_BL.long(),
        generation_config=GenerationConfig(
            do_sample=False,
            num_beams=num_beams,
            max_new_tokens=max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        ),
    )
    clues = clue_probabilities(prefix.clues, generator.perception)
    return [
        GeneratedReport(study_id=study_id, text=decode_ids(tokenizer, ids), clues=said)
        for study_id, ids, said in zip(batch.study_ids, ids_BT.tolist(), clues, strict=True)
    ]
