"""Compile a slice of the newest shards, train both stages on it, and print the scores beside the floors.

python examples/reslice_and_retrain.py --store demo/store --spec rare-findings.yaml
python examples/reslice_and_retrain.py --store demo/store --spec rare-findings.yaml --set pretrain.epochs=1

The store must hold `shards`: run `make demo` or the tutorial first. On two CPU cores the defaults take minutes.
"""

import argparse
from pathlib import Path

from pipelines.jobs.reslice import make_slice
from pipelines.running.catalog import newest_outputs, run_job
from trrg_core.config.load import load_config
from trrg_core.slicing.spec import load_slice_spec
from trrg_core.storage.store import open_store

# what each job adds to the inputs of the next
OUTPUTS = {"pretrain": "contrastive", "finetune": "generator", "generate": "predictions", "evaluate": "scores"}
SCORE = "micro.f1.u0"


def main() -> None:
    """Slice, train, generate and score what the command line names."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--store", default="./trrg-store", help="folder or s3:// prefix of the results")
    options.add_argument("--spec", type=Path, required=True, help="YAML file that describes the slice")
    options.add_argument("--preset", default="tiny", help="tiny, base or a YAML file")
    options.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    given = options.parse_args()
    config, store = load_config(given.preset, given.settings), open_store(given.store)
    sliced = make_slice(store, load_slice_spec(given.spec))
    print(f"{sliced.result.ref} of {sliced.base}: {len(sliced.plan.rows)} study rows")
    for reason in sliced.plan.infeasible:
        print("not met:", reason)
    inputs = {**newest_outputs(store, ("shards",)), "slice": sliced.result.ref}
    for job, output in OUTPUTS.items():
        result = run_job(job, config, given.store, inputs)
        inputs[output] = result.ref
        print(f"{job}: {result.ref} in {result.seconds:.0f} s")
    for name, value in sorted(result.counts.items()):
        if name.endswith(SCORE):
            print(f"{value:.3f} {name}")


if __name__ == "__main__":
    main()
