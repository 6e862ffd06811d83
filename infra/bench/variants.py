"""What the benches of both training stages share: every variant with every seed, in processes of one thread each.

A run that exists already is not trained again, so that an interrupted series goes on.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

import numpy as np

from pipelines.running.newest_outputs import newest_outputs
from pipelines.running.run_job import run_job
from trrg_core.config.load import load_config
from trrg_core.config.settings import TrrgConfig
from trrg_core.storage.store import open_store
from trrg_core.tables.delta import read_table
from trrg_core.tables.table_ref import TableRef

Result = TypeVar("Result")


def variant_config(seed: int, settings: Sequence[str], variant: Sequence[str]) -> TrrgConfig:
    """The preset `tiny` with these settings, trained in this process; its stage 1 is never stopped by its gate."""
    local = (f"seed={seed}", "engine.local=true", "perception_gate.min_studies=1000000")
    return load_config("tiny", overrides=[*local, *settings, *variant])


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """The options of every series: seeds, processes and settings."""
    parser.add_argument("--seeds", nargs="+", type=int, default=[7, 8, 9], help="training seeds")
    parser.add_argument("--jobs", type=int, default=2, help="number of processes, one core each")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="setting for all variants; repeatable"
    )


def add_stage1_option(parser: argparse.ArgumentParser) -> None:
    """The option that `stage1_run` reads."""
    parser.add_argument(
        "--stage1", nargs="+", default=[], metavar="SEED=RUN", help="runs of stage 1 that exist already"
    )


def stage1_run(options: argparse.Namespace, config: TrrgConfig, shards: str, seed: int) -> str:
    """The run of stage 1 of a seed: the one that is given, else the finished one of `config`."""
    given = dict(pair.split("=") for pair in options.stage1)
    return given.get(str(seed)) or run_job("pretrain", config, options.store, {"shards": shards}).ref


def test_rows(store_uri: str, most: int) -> list[dict[str, Any]]:
    """The first studies of the test store in order of ids, those of every split."""
    store = open_store(store_uri)
    table = read_table(store, TableRef.parse(newest_outputs(store, ("shards",))["shards"]))
    rows = [row for row in table.to_pylist() if row["report"]]
    return sorted(rows, key=lambda row: str(row["study_id"]))[:most]


def mean_and_deviation(values: Sequence[float]) -> str:
    """The cell of a table: the mean over the seeds, and the standard deviation of several."""
    if not values:
        return "-"
    deviation = f" \u00b1 {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{deviation}"


def run_variants(
    options: argparse.Namespace,
    variants: Mapping[str, Sequence[str]],
    work: Callable[[argparse.Namespace, str, int], Result],
    describe: Callable[[Result], str],
) -> dict[str, list[Result]] | None:
    """The result of `work` of each chosen variant, one per seed; each is printed on standard error when it is there.

    Args:
        options: `variants`, `seeds` and `jobs` are read here.
        variants: all that may be chosen.
        work: a function of a module, called in another process with the options, a variant and a seed.
        describe: a result in one line.

    Returns:
        The results by variant; None after a message if a chosen variant is unknown.
    """
    if unknown := sorted(set(options.variants) - set(variants)):
        print(f"unknown variant {unknown[0]!r}: expected one of {', '.join(variants)}", file=sys.stderr)
        return None
    os.environ["OMP_NUM_THREADS"] = "1"  # read when the processes import torch
    cases = [(name, seed) for name in options.variants for seed in options.seeds]
    results: dict[str, list[Result]] = {}
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(work, options, name, seed) for name, seed in cases]
        for (name, seed), future in zip(cases, futures, strict=True):
            results.setdefault(name, []).append(future.result())
            print(f"{name}, seed {seed}: {describe(results[name][-1])}", file=sys.stderr, flush=True)
    return results
