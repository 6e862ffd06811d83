"""A simulated month: the retraining flow night after night over a source that grows, drifts, breaks and is reworded.

python -m infra.bench.month /tmp/month                       # all nights
python -m infra.bench.month /tmp/month --nights 6 --drift-on 2 --break-on 3 --reword-on 4 --count 2

A run goes on with the first night that has no record, so it may be cut into pieces with `--count`. Tiny models, one
epoch each: they learn nothing, and the gate refuses them. A person accepts the first one, and the one after each change
of the data, as on a real service, so that the drift is measured from what is known. At the end `trrg dashboard`.
"""

import argparse
import logging
import time
from pathlib import Path

from infra.bench.month_corpus import Month, draw_pool, write_night
from pipelines.records.json_log import set_up_logging
from trrg_core.errors import TrrgError
from trrg_core.runs.flow_record import read_flow_history
from trrg_core.storage.store import open_store

SETTINGS = (
    "source.plain.table=export.csv",
    'source.plain.image_path="{image}"',
    "source.plain.study_column=study",
    "source.plain.view_column=view",
    "source.plain.date_column=date",
    "source.plain.sex_column=sex",
    "engine.local=true",
    "pretrain.epochs=1",
    "finetune.epochs=1",
    "generate.max_new_tokens=16",
    "evaluate.bootstrap_samples=50",
    "register.bootstrap_samples=100",
    "register.min_studies=5",
    "register.min_patients=2",
    "register.min_positives=1",
    "ray.local_cpus=2",
)


def run_night(folder: Path, month: Month, night: int) -> str:
    """Run the flow on the source of `night`; returns how it ended."""
    from flows.entry import read_config
    from flows.retraining import retrain_with

    source = write_night(folder, draw_pool(folder, month), month, night)
    accepted = {1: "the first model", month.drift_on + 2: "the new ward is known", month.reword_on + 2: "new template"}
    override = [f'register.override="{accepted[night]}"'] if night in accepted else []
    config = read_config("tiny", "plain", str(source), [*SETTINGS, *override])
    store = str(folder / "store")
    try:
        retrain_with(config, store, "ingest", "", "warn")
    except TrrgError as error:
        logging.getLogger(__name__).warning("night %d: %s", night, error)
    return str(read_flow_history(open_store(store), 1).records[0].outcome)


def run_nights(folder: Path, month: Month, count: int) -> list[str]:
    """Run the next `count` nights that have no record; returns how each ended."""
    from prefect.testing.utilities import prefect_test_harness

    done = len(read_flow_history(open_store(str(folder / "store"))).records)
    ends = []
    with prefect_test_harness(server_startup_timeout=150):
        for night in range(done + 1, min(month.nights, done + count) + 1):
            began = time.monotonic()
            ends.append(run_night(folder, month, night))
            print(f"night {night}: {ends[-1]}, {time.monotonic() - began:.0f} s", flush=True)
    return ends


def main() -> None:
    """Run the nights that the command line asks for, and write the dashboard."""
    from pipelines.registry.dashboard import build_dashboard
    from trrg_core.config.settings import RegisterConfig
    from trrg_core.pages.dashboard_page import render_dashboard, sum_up_nights

    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=Path, help="new folder of the month, or one to go on with")
    arguments.add_argument("--count", type=int, default=1000, help="nights to run now")
    for name in ("nights", "drift_on", "break_on", "reword_on", "first_studies", "per_night", "batch", "seed"):
        arguments.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(Month(), name))
    given = vars(arguments.parse_args())
    folder, count = given.pop("folder"), given.pop("count")
    set_up_logging(("pipelines", "flows"))
    run_nights(folder, Month(**given), count)
    page = build_dashboard(open_store(str(folder / "store")), RegisterConfig())
    (folder / "dashboard.html").write_text(render_dashboard(page), "utf-8")
    print(f"{sum_up_nights(page)}\n{folder / 'dashboard.html'}")


if __name__ == "__main__":
    main()
