"""Compile a slice of the newest shards, train both stages on it, and print the scores beside the floors.

python examples/reslice_and_retrain.py --store demo/store --spec rare-findings.yaml
python examples/reslice_and_retrain.py --store demo/store --spec rare-findings.yaml --set pretrain.epochs=1

The store must hold `shards`: run `make demo` or the tutorial first. On two CPU cores the defaults take minutes.
"""

import argparse
from pathlib import Path

from pipelines.jobs.reslice import make_slice
from pipelines.running.catalog import JOBS
from pipelines.running.newest_outputs import newest_outputs
from pipelines.running.run_job import run_job
from trrg_core.config.load import load_config
from trrg_core.slicing.spec import load_slice_spec
from trrg_core.storage.store import open_store

TO_RUN = ("pretrain", "finetune", "generate", "evaluate")
SCORE = "micro.f1.u0"


def main() -> None:
    """Slice, train, generate and score what the command line names."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--store", default="./trrg-store", help="folder or s3:// prefix of the results")
    arguments.add_argument("--spec", type=Path, required=True, help="YAML file that describes the slice")
    arguments.add_argument("--preset", default="tiny", help="tiny, small, base or a YAML file")
    arguments.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    given = arguments.parse_args()
    config, store = load_config(given.preset, given.settings), open_store(given.store)
    sliced = make_slice(store, load_slice_spec(given.spec))
    print(f"{sliced.result.ref} of {sliced.base}: {len(sliced.plan.rows)} study rows")
    for reason in sliced.plan.infeasible:
        print("not met:", reason)
    inputs = {**newest_outputs(store, ("shards",)), "slice": sliced.result.ref}
    for job in TO_RUN:
        result = run_job(job, config, given.store, inputs)
        # the output of a job is an input of the jobs after it
        inputs[JOBS[job].output] = result.ref
        print(f"{job}: {result.ref} in {result.seconds:.0f} s")
    for name, value in sorted(result.counts.items()):
        if name.endswith(SCORE):
            print(f"{value:.3f} {name}")


if __name__ == "__main__":
    main()
