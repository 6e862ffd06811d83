"""Generation beside `generate()` of transformers: the same model, prefixes and texts, in CPU seconds of one thread.

    python -m infra.bench.generate                         # random weights of the preset `tiny`
    python -m infra.bench.generate --model path/to/model   # a trained model: its texts end by themselves

Rows of the table are measured in turn, in several rounds, and ratios are of the same round. With random weights every
text has the full length; a trained model also gains from the places that ended texts leave to others. Exits with 1 if a
text differs from that of `generate()` or a ratio is below its floor.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import GenerationConfig

from infra.bench.serve import draw_films
from infra.bench.tiny_model import write_tiny_model
from trrg_core.config.settings import GenerateConfig
from trrg_core.generation.continuous import Prompt
from trrg_core.generation.decoding import EncodedStudies, encode_studies, stream_reports
from trrg_core.generation.drafts import write_drafts
from trrg_core.generation.film_reading import film_format, read_film
from trrg_core.model.model_folder import LoadedGenerator, load_model_folder
from trrg_core.training.batch import Batch
from trrg_core.training.collate import collate_images
from trrg_core.training.tokenization import decode_ids

SEED, STUDIES, FEW, DRAFTS, PLACES, IMAGES_AT_ONCE = 5, 32, 2, 16, 64, 32
MAX_TOKENS = 60  # with random weights; reports of the demonstration have 32 to 80
FLOOR_DRAFTS, FLOOR_REPORTS = 2.0, 3.0


@dataclass(frozen=True, kw_only=True)
class Case:
    """Two ways to do the same work; `floor` is the least ratio of their seconds, 0 for none."""

    name: str
    peer: Callable[[], Any]
    ours: Callable[[], Any]
    num_studies: int
    floor: float = 0.0
    texts_are_equal: bool = False


def main() -> int:
    """Prints the table and its verdict; returns 1 if a text differs or a ratio is below its floor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="", help="folder of a trained model; none: random weights")
    parser.add_argument("--studies", type=int, default=STUDIES, help="number of invented studies")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with TemporaryDirectory(prefix="trrg-bench-") as folder:
        place = Path(options.model) if options.model else write_tiny_model(Path(folder) / "model", seed=SEED)
        print(
            f"model: {options.model or 'random weights of tiny'}, {options.studies} studies of one film, one thread\n"
        )
        return bench(make_cases(place, options.studies), options.rounds)


def make_cases(folder: Path, num_studies: int) -> list[Case]:
    """The rows of the table for a model folder."""
    apart, loaded = load_model_folder(folder), load_model_folder(folder, merge_adapter=True)
    batches = make_batches(loaded, num_studies)
    max_tokens = min(loaded.config.generate.max_new_tokens, MAX_TOKENS)
    config = GenerateConfig(batch_size=PLACES, max_new_tokens=max_tokens)
    few = list(prompts_of(loaded, batches))[:FEW]
    drafts = config.model_copy(update={"candidates": DRAFTS, "batch_size": 1})
    together = drafts.model_copy(update={"batch_size": PLACES})

    return [
        Case(
            name="reports: generate() study by study",
            peer=lambda: write_by_library(loaded, prompts_of(loaded, batches), max_tokens),
            ours=lambda: write_all(loaded, batches, config),
            num_studies=num_studies,
            floor=FLOOR_REPORTS,
            texts_are_equal=True,
        ),
        Case(
            name="reports: batch by batch of 16, to the end of the longest",
            peer=lambda: write_by_library(loaded, prompts_of(loaded, batches), max_tokens, at_once=16),
            ours=lambda: write_all(loaded, batches, config),
            num_studies=num_studies,
            texts_are_equal=True,
        ),
        Case(
            name=f"{DRAFTS} drafts of a study: one by one",
            peer=lambda: write_by_library(loaded, (one for one in few for _ in range(DRAFTS)), max_tokens, sample=True),
            ours=lambda: list(write_drafts(loaded.generator, few, drafts)),
            num_studies=len(few),
            floor=FLOOR_DRAFTS,
        ),
        Case(
            name=f"{DRAFTS} drafts of a study: generate() with a prefix for each",
            peer=lambda: write_by_library(loaded, few, max_tokens, sample=True, num_drafts=DRAFTS),
            ours=lambda: list(write_drafts(loaded.generator, few, drafts)),
            num_studies=len(few),
        ),
        Case(
            name=f"{DRAFTS} drafts: study by study",
            peer=lambda: list(write_drafts(loaded.generator, few, drafts)),
            ours=lambda: list(write_drafts(loaded.generator, few, together)),
            num_studies=len(few),
        ),
        Case(
            name="reports: adapters beside the weights, not merged",
            peer=lambda: write_all(apart, batches, config),
            ours=lambda: write_all(loaded, batches, config),
            num_studies=num_studies,
            texts_are_equal=True,
        ),
        Case(
            name="guided prefixes: images encoded for each use",
            peer=lambda: read_images_for_each_use(loaded, batches),
            ours=lambda: list(prompts_of(loaded, batches, is_guided=True)),
            num_studies=num_studies,
        ),
    ]


def bench(cases: Sequence[Case], rounds: int) -> int:
    """Measures and prints each case."""
    print(f"{'':62}{'peer ms':>9}{'ours ms':>9}{'ratio':>8}{'floor':>7}{'equal':>8}")
    failed = []
    for case in cases:
        equal = ""
        if case.texts_are_equal:
            wanted, found = case.peer(), case.ours()
            equal = f"{sum(a == b for a, b in zip(wanted, found, strict=True))}/{len(wanted)}"
        pairs = [(_cpu_s(case.peer), _cpu_s(case.ours)) for _ in range(rounds)]
        ratio = statistics.median(peer / ours for peer, ours in pairs)
        peer_ms, ours_ms = (1000 * statistics.median(side) / case.num_studies for side in zip(*pairs, strict=True))
        floor = f"{case.floor:.1f}" if case.floor else "-"
        print(f"{case.name:62}{peer_ms:9.1f}{ours_ms:9.1f}{ratio:8.2f}{floor:>7}{equal:>8}", flush=True)
        if ratio < case.floor or (equal and wanted != found):
            failed.append(case.name)
    print(f"{'FAIL: ' + '; '.join(failed) if failed else 'PASS'}: milliseconds are CPU time per study")
    return 1 if failed else 0


def make_batches(loaded: LoadedGenerator, num_studies: int) -> list[Batch]:
    """Invented studies of one frontal film each."""
    form = film_format(loaded.config)
    rows = [
        {
            "study_id": str(number),
            "views": [{"view_position": "PA", "jpeg": read_film(film, name=str(number), form=form).jpeg}],
        }
        for number, film in enumerate(draw_films(num_studies))
    ]
    return [
        collate_images(rows[at : at + IMAGES_AT_ONCE], observations=loaded.observations, config=loaded.config.pretrain)
        for at in range(0, len(rows), IMAGES_AT_ONCE)
    ]


def write_all(loaded: LoadedGenerator, batches: Sequence[Batch], config: GenerateConfig) -> list[str]:
    """The reports as the job `generate` writes them."""
    encoded = (EncodedStudies(batch=batch, features=encode_studies(loaded.generator, batch)) for batch in batches)
    return [report.text for report in stream_reports(loaded, encoded, config)]


@torch.no_grad()
def prompts_of(loaded: LoadedGenerator, batches: Iterable[Batch], *, is_guided: bool = False) -> Iterator[Prompt]:
    """The prefix of each study, and with guidance that with its clues hidden."""
    generator = loaded.generator
    for batch in batches:
        features = encode_studies(generator, batch)
        prefix = generator.prefix(batch, features=features)
        if is_guided:
            hidden = prefix.clues._replace(mask_BK=torch.zeros_like(prefix.clues.mask_BK))
            generator.prefix(batch, hidden, features=features)
        for study_id, own_LH, mask_L in zip(batch.study_ids, prefix.embeddings_BLH, prefix.mask_BL, strict=True):
            yield Prompt(study_id=study_id, streams=(own_LH[mask_L],))


@torch.no_grad()
def read_images_for_each_use(loaded: LoadedGenerator, batches: Iterable[Batch]) -> None:
    """The two prefixes of guided decoding, each from the images."""
    for batch in batches:
        prefix = loaded.generator.prefix(batch)
        hidden = prefix.clues._replace(mask_BK=torch.zeros_like(prefix.clues.mask_BK))
        loaded.generator.prefix(batch, hidden)


@torch.no_grad()
def write_by_library(
    loaded: LoadedGenerator,
    prompts: Iterable[Prompt],
    max_tokens: int,
    *,
    at_once: int = 1,
    sample: bool = False,
    num_drafts: int = 1,
) -> list[str]:
    """Texts by `generate()` of transformers, a fixed number of prompts at a time."""
    tokenizer: Any = loaded.generator.tokenizer
    settings = GenerationConfig(
        do_sample=sample,
        num_return_sequences=num_drafts,
        max_new_tokens=max_tokens,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    texts: list[str] = []
    waiting = list(prompts)
    for at in range(0, len(waiting), at_once):
        embeddings = [prompt.streams[0] for prompt in waiting[at : at + at_once]]
        ids = loaded.generator.llm.generate(inputs_embeds=torch.stack(embeddings), generation_config=settings)
        texts += [decode_ids(tokenizer, row) for row in ids.tolist()]
    return texts


def _cpu_s(work: Callable[[], Any]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


if __name__ == "__main__":
    sys.exit(main())
