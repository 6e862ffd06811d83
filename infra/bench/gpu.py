"""Speed of training and generation on one GPU; run as `python infra/bench/gpu.py BENCH`, from any folder.

`contrastive` (`infra.bench.gpu_contrastive`) needs this checkout, torch, transformers and what these two require.
`generate` (`infra.bench.gpu_generate`) and `finetune` (`infra.bench.gpu_finetune`) need pydantic, SciPy and Pillow too,
`engine` (`infra.bench.gpu_engine`) all that training needs. `--tiny` takes the sizes of the preset `tiny`, to check the
script on a CPU.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2]
BENCHES = {
    "contrastive": "stage 1: pairs per second",
    "generate": "stage 2: tokens per second of drafts and reports",
    "finetune": "stage 2: tokens per second of the LLM",
    "engine": "both stages under DeepSpeed: memory, and exact resume",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the bench that `arguments` or the command line choose; returns 1 if its goal is missed on its device."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="gpu.py", description=__doc__)
    benches = parser.add_subparsers(dest="bench", required=True)
    parsers = {bench: benches.add_parser(bench, help=text) for bench, text in BENCHES.items()}
    name = words[0] if words and words[0] in BENCHES else parser.parse_args(words).bench
    add_options, run = _bench(name)
    add_options(parsers[name])
    return run(parser.parse_args(words))


def _bench(
    name: str,
) -> tuple[Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]]:
    """The options of a bench and what it runs; only what it needs is imported."""
    if name == "contrastive":
        from infra.bench.plain_settings import without_pydantic

        without_pydantic()
        from infra.bench import gpu_contrastive

        return gpu_contrastive.add_options, gpu_contrastive.bench_contrastive
    if name == "generate":
        from infra.bench import gpu_generate

        return gpu_generate.add_options, gpu_generate.bench_generate
    if name == "finetune":
        from infra.bench import gpu_finetune

        return gpu_finetune.add_finetune_options, gpu_finetune.bench_finetune
    from infra.bench import gpu_engine

    return gpu_engine.add_options, gpu_engine.bench_engine


if __name__ == "__main__":
    if not __package__:  # run as a file: Python looks beside it for modules, and not in the checkout
        sys.path[0] = str(_CHECKOUT)
    sys.exit(main())
