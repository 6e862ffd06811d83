"""Three Ray nodes, one of which is lost in each stage, and whether the end equals that of one node.

python -m infra.bench.nodes /tmp/nodes

The data stages and both trainings run over an invented corpus without a cluster, and again on one: a head without CPUs
and two worker nodes with one CPU each, every one in a network namespace of its own. In each stage a worker node that
works for it is killed; training under ZeRO-2 with two ranks goes on with one, from its newest checkpoint. The node
is started again before the next stage. Prints a table in Markdown; ends with 1 if rows, steps or losses differ.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.bench.node_network import Nodes, enter_network, wait_until
from infra.bench.store_outcome import differences, read_outcome
from trrg_core.runs.checkpoints import list_checkpoints
from trrg_core.runs.results import list_results
from trrg_core.sources.sample.layout import write_sample
from trrg_core.storage.store import Store, open_store
from trrg_core.tables.commit_history import history
from trrg_core.tables.delta import read_table

STUDIES = 300  # ingest reads up to 256 in its own process
SETTINGS = (
    "shard.rows_per_file=64",
    "pretrain.epochs=2",
    # a tenth of the preset's: at its rate one digit of the last place grows to a hundredth of the loss within ten steps
    "pretrain.optimizer.learning_rate=3e-4",
    "finetune.optimizer.learning_rate=3e-4",
    "finetune.epochs=3",  # long enough to lose a node in it
    "engine.num_workers=2",
    "engine.min_workers=1",
    "engine.zero_stage=2",
    "engine.checkpoint_every_steps=2",
    "engine.log_every_steps=1",
)
PRODUCED = {"ingest": "studies", "parse": "reports", "shard": "shards"}
TRAINING = ("pretrain", "finetune")
STAGES = (*PRODUCED, *TRAINING)
WORKERS = (2, 3)  # numbers of nodes; the head is 1
TOLERANCE = 1e-3  # relative, of a loss after some dozen steps: sums of one rank round otherwise than those of two
LIMIT_S = 900.0  # of one stage
ATTEMPTS, TRY_AGAIN = 4, 75  # the exit code of what may pass by itself


@dataclass(frozen=True, kw_only=True)
class StageEnd:
    """A stage on the cluster: what was lost when, how long it took, and how its end differs from one node's."""

    stage: str
    lost: str
    seconds: float
    result: str
    different: tuple[str, ...]


def run_nodes(folder: Path, stages: Sequence[str] = STAGES, studies: int = STUDIES) -> Iterator[StageEnd]:
    """Run the stages on one node and on three, and compare after each; yields as they end.

    Raises:
        RuntimeError: if a node does not start, or a stage fails or does not end; with the place of the log.
    """
    corpus = folder / "corpus"
    if not corpus.exists():
        write_sample(corpus, num_studies=studies, seed=7)
    one, three = (open_store(str(folder / name)) for name in ("one-node", "three-nodes"))
    for stage in stages:
        here = ["--set", "engine.local=true"] if stage in TRAINING else []
        _run_here([stage, *_words(stage, corpus, one), *here], folder / f"{stage}-one-node.log")
    with tempfile.TemporaryDirectory(prefix="nodes", dir="/tmp") as short, _cluster(Path(short), folder) as nodes:
        for stage in stages:
            log = folder / f"{stage}.log"
            began = time.monotonic()
            words = [stage, *_words(stage, corpus, three), "--set", f"ray.address={nodes.address}"]
            command = nodes.run(words, log)
            lost, after = _lose_node(nodes, command, stage, three)
            _finish(command, stage, log)
            seconds = time.monotonic() - began
            yield StageEnd(
                stage=stage,
                lost=f"node {lost}{after}",
                seconds=seconds,
                result=_describe(three, stage),
                different=_differences(one, three, stage),
            )
            nodes.start(lost, cpus=1)


@contextmanager
def _cluster(folder: Path, logs: Path) -> Iterator[Nodes]:
    nodes = Nodes(folder=folder, logs=logs)
    try:
        nodes.start(1, cpus=0)
        for number in WORKERS:
            nodes.start(number, cpus=1)
        yield nodes
    finally:
        nodes.stop()


def _words(stage: str, corpus: Path, store: Store) -> list[str]:
    source = ["--source-root", str(corpus)] if stage == "ingest" else []
    return ["--store", store.uri, *source, *(word for setting in SETTINGS for word in ("--set", setting))]


def _lose_node(nodes: Nodes, command: subprocess.Popen[bytes], stage: str, store: Store) -> tuple[int, str]:
    """Kill a node that works for the stage, once a training has a checkpoint; its number, and after which step."""
    working: list[int] = []

    def has_come() -> bool:
        if command.poll() is not None:
            raise RuntimeError(f"{stage} ended before a node could be lost")
        working[:] = [number for number in WORKERS if nodes.is_working(number)]
        is_all = len(working) == len(WORKERS)
        return is_all and _steps_done(store, stage) > 0 if stage in TRAINING else bool(working)

    wait_until(has_come, LIMIT_S, f"{stage} does not come to a worker node")
    after = f" after step {_steps_done(store, stage)}" if stage in TRAINING else ""
    nodes.kill(working[-1])
    return working[-1], after


def _steps_done(store: Store, stage: str) -> int:
    """The newest checkpoint of the unfinished run of a training stage; 0 without one."""
    runs = {path.split("/")[1] for path in store.list("runs")} if store.exists("runs") else set()
    steps = [
        checkpoint.step
        for run in runs
        if run.startswith(f"{stage}-")
        for checkpoint in list_checkpoints(store, f"runs/{run}/checkpoints")
    ]
    return max(steps, default=0)


def _run_here(words: Sequence[str], log: Path) -> None:
    """Run a `trrg` command on this machine alone; again where a local Ray was too slow to start."""
    for _ in range(ATTEMPTS):
        with log.open("ab") as output:
            command = [sys.executable, "-m", "flows.cli", *words]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False)
        if done.returncode != TRY_AGAIN:
            break
    if done.returncode:
        raise RuntimeError(f"{words[0]} ended with {done.returncode}: see {log}")


def _finish(command: subprocess.Popen[bytes], stage: str, log: Path) -> None:
    try:
        code = command.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        code = None
    if code != 0:
        raise RuntimeError(f"{stage} ended with {code}: see {log}")


def _describe(store: Store, stage: str) -> str:
    if stage in TRAINING:
        losses = _losses(store)[stage]
        return f"{len(losses)} steps, loss {losses[-1]:.4f}"
    newest = history(store, PRODUCED[stage])[0]
    return f"{newest.ref}, {read_table(store, newest.ref).num_rows} rows"


def _differences(one: Store, three: Store, stage: str) -> tuple[str, ...]:
    """What a stage made otherwise: table versions with other rows, or steps and losses."""
    if stage in TRAINING:
        return compare_losses(*({stage: _losses(store).get(stage, [])} for store in (one, three)))
    tables = (PRODUCED[stage], "rejects") if stage == "shard" else (PRODUCED[stage],)
    wanted, found = (
        {name: digest for name, digest in read_outcome(store).items() if name.partition("@")[0] in tables}
        for store in (one, three)
    )
    return differences(wanted, found)


def compare_losses(wanted: Mapping[str, Sequence[float]], found: Mapping[str, Sequence[float]]) -> tuple[str, ...]:
    """The trainings whose number of steps or losses differ by more than the tolerance, in words."""
    wrong = []
    for stage in sorted({*wanted, *found}):
        expected, losses = wanted.get(stage, ()), found.get(stage, ())
        if len(expected) != len(losses):
            wrong.append(f"{stage}: {len(losses)} steps for {len(expected)}")
        pairs = zip(expected, losses, strict=False)
        far = next((at for at, pair in enumerate(pairs) if not math.isclose(*pair, rel_tol=TOLERANCE)), None)
        if far is not None:
            wrong.append(f"{stage}: loss {losses[far]:.5f} for {expected[far]:.5f} in step {far + 1}")
    return tuple(wrong)


def _losses(store: Store) -> dict[str, list[float]]:
    """The loss of each step by training stage."""
    results = [result for result in list_results(store) if result.job in TRAINING]
    return {
        result.job: [step["loss"] for step in json.loads(store.read_bytes(f"{result.path}/losses.json"))]
        for result in results
    }


def main() -> int:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="new folder for the corpus and the stores")
    parser.add_argument("--studies", type=int, default=STUDIES)
    parser.add_argument("--until", choices=STAGES, default=STAGES[-1], help="last stage")
    options = parser.parse_args()
    enter_network()
    options.folder.mkdir(parents=True, exist_ok=True)
    print("| stage | lost | time | result | equal to one node |\n| --- | --- | --- | --- | --- |", flush=True)
    failed = False
    for end in run_nodes(options.folder, STAGES[: STAGES.index(options.until) + 1], options.studies):
        equal = "no: " + ", ".join(end.different) if end.different else "yes"
        print(f"| {end.stage} | {end.lost} | {end.seconds:.0f} s | {end.result} | {equal} |", flush=True)
        failed = failed or bool(end.different)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
