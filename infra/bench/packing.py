"""Packing of reports against padding on a CPU: useful tokens of stage 2's LLM per CPU second.

`python -m infra.bench.packing` trains an LLM of 3 layers and width 192 with adapters on the same invented sequences
twice: each report in a row of its own, and several in a row. Prints a table by spread of lengths and a verdict; exits
with 1 if packing is below its floor on lengths with a long tail, or if any loss differs.
"""

import argparse
import sys

import numpy as np
import torch

from infra.bench.llm_steps import Corpus, Measured, invent_sequences, measure, with_adapters
from trrg_core.config.settings import EncoderConfig, LoraSettings
from trrg_core.model.backbones import build_backbone

FLOOR_OVER_PADDING = 1.5
_SHAPE = {
    "model_type": "llama",
    "hidden_size": 192,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "intermediate_size": 512,
}
_SAME = 1e-4  # relative difference of losses: sums in another order
# log-normal, with the spreads of the words of IU X-ray: findings and impression together, and impressions
CORPORA = {
    "even lengths": Corpus(prefix=36, median=60, sigma=0.45, longest=256),
    "long tail": Corpus(prefix=36, median=60, sigma=0.81, longest=256),
}


def main() -> int:
    """Prints the table and the verdict."""
    parser = argparse.ArgumentParser(prog="python -m infra.bench.packing", description=__doc__)
    parser.add_argument("--batch-size", type=int, default=16, help="sequences per step")
    parser.add_argument("--batches", type=int, default=3, help="steps per round")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"{'':16}{'tokens/s padded':>16}{'padding':>9}{'packed':>9}{'padding':>9}{'speed-up':>10}{'losses within':>15}"
    )
    speed_ups, apart = {}, 0.0
    for name, corpus in CORPORA.items():
        padded, packed = (_measure(corpus, options, packing=packing) for packing in (False, True))
        speed_ups[name] = packed.tokens_per_s / padded.tokens_per_s
        difference = float(np.abs(np.array(packed.losses) / np.array(padded.losses) - 1).max())
        apart = max(apart, difference)
        print(
            f"{name:16}{padded.tokens_per_s:16,.0f}{padded.padding:9.0%}{packed.tokens_per_s:9,.0f}{packed.padding:9.0%}"
            f"{speed_ups[name]:9.2f}x{difference:15.1e}",
            flush=True,
        )
    passed = speed_ups["long tail"] >= FLOOR_OVER_PADDING and apart <= _SAME
    print(
        f"{'PASS' if passed else 'FAIL'}: {speed_ups['long tail']:.2f}x of padding on a long tail "
        f"(floor {FLOOR_OVER_PADDING}), losses within {apart:.0e} (floor {_SAME:.0e})"
    )
    return 0 if passed else 1


def _measure(corpus: Corpus, options: argparse.Namespace, *, packing: bool) -> Measured:
    torch.manual_seed(0)
    llm = build_backbone(EncoderConfig(config=_SHAPE), role="causal", vocabulary_size=2000)
    llm, _ = with_adapters(llm, LoraSettings(dropout=0.0))
    batches = invent_sequences(corpus, llm, number=options.batch_size, batches=options.batches)
    return measure(llm.train(), batches, packing=packing, rounds=options.rounds)


if __name__ == "__main__":
    sys.exit(main())
