"""Kills at random moments of a whole run, and whether what it ends with equals an undisturbed run.

python -m infra.bench.kills /tmp/kills --kills 30
python -m infra.bench.kills /tmp/kills --kills 10 --s3

One run is left alone. Every other run is killed up to once in each of its stages, started again after each kill, and
compared when it has ended: table rows, losses, weights, scores, the decision, versions and aliases of the registry.
What is killed is drawn: the command, all its processes at once (as a power cut does), a worker of the stage, or the
Prefect server. The moment is a random share of the time that the stage took in the undisturbed run; in every other
run training is killed within a second of its first checkpoint, so that it must go on from there. With --s3 the stores
of the killed runs are in an S3 whose requests fail at random. Prints a table in Markdown; ends with 1 if a run ended
otherwise, did finished work again, or left a process behind.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from infra.bench.failing_s3 import failing_store
from infra.bench.killed_run import POLL_S, KilledRun, Surroundings, Victim
from infra.bench.store_outcome import differences, read_outcome
from pipelines.running.catalog import JOBS
from trrg_core.runs.flow_record import read_flow_history
from trrg_core.sources.sample.layout import write_sample
from trrg_core.storage.store import open_store

SETTINGS = (
    "pretrain.epochs=3",
    "finetune.epochs=2",
    "engine.checkpoint_every_steps=2",
    "generate.max_new_tokens=24",
    "evaluate.bootstrap_samples=20",
    "register.bootstrap_samples=100",
    "register.override=rehearsal",
)
STUDIES = 120
TRAINING = ("pretrain", "finetune")
# how often each is drawn
VICTIMS = {Victim.RUN: 4, Victim.ALL: 3, Victim.WORKER: 3, Victim.SERVER: 1}


@dataclass(frozen=True, kw_only=True)
class Kill:
    """What is killed, in which stage, after which share of the stage's undisturbed time.

    Behind a checkpoint it is that share of a second after the first one of the stage.
    """

    stage: str
    share: float
    victim: Victim
    behind_checkpoint: bool


@dataclass(frozen=True, kw_only=True)
class Killed:
    """A kill that was done: `stage` is what ran then, `went_on` what came of the command.

    `step` is that of its newest checkpoint then, 0 without one.
    """

    run: int
    stage: str
    after_s: float
    step: int
    victim: str
    went_on: str
    left_behind: int


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """A run with its kills: how its end differs from the undisturbed one, and the finished jobs that were run again."""

    kills: tuple[Killed, ...]
    different: tuple[str, ...]
    redone: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All runs, and how long each stage took undisturbed, seconds."""

    seconds: dict[str, float]
    runs: list[ComparedRun] = field(default_factory=list)

    @property
    def failed(self) -> list[str]:
        """What is not as it should be, in words."""
        wrong = []
        for number, run in enumerate(self.runs, 1):
            wrong += [f"run {number}: {name} differs" for name in run.different]
            wrong += [f"run {number}: {job} was run again" for job in run.redone]
            wrong += [
                f"run {number}: {kill.left_behind} processes outlived a kill" for kill in run.kills if kill.left_behind
            ]
        return wrong


def plan_kills(count: int, seed: int) -> list[list[Kill]]:
    """The kills of each run in the order of its stages; stages are taken in turn, all else is random."""
    random, stages = Random(seed), list(JOBS)
    names = [stages[at % len(stages)] for at in range(count)]
    runs = [names[at : at + len(stages)] for at in range(0, count, len(stages))]
    weights = list(VICTIMS.values())
    return [
        [
            Kill(
                stage=name,
                share=random.random(),
                victim=random.choices(list(VICTIMS), weights)[0],
                behind_checkpoint=name in TRAINING and number % 2 == 1,
            )
            for name in run
        ]
        for number, run in enumerate(runs)
    ]


def run_kills(folder: Path, count: int, seed: int, first: int = 1, *, in_s3: bool = False) -> Findings:
    """Run the chain undisturbed, and then with the kills, from run `first` on.

    Raises:
        RuntimeError: if a run does not end, or ends with an error in spite of being started again.
    """
    corpus = folder / "corpus"
    if not corpus.exists():
        write_sample(corpus, num_studies=STUDIES, seed=seed)
    calm = folder / "undisturbed"
    KilledRun(corpus, calm, SETTINGS).finish()
    wanted = read_outcome(open_store(str(calm / "store")))
    record = read_flow_history(open_store(str(calm / "store"))).records[-1]
    findings = Findings(seconds={stage.job: stage.seconds for stage in record.stages})
    for number, kills in enumerate(plan_kills(count, seed), 1):
        if number >= first:
            around = folder / f"killed-{'s3-' if in_s3 else ''}{number}"
            with failing_store() if in_s3 else nullcontext() as remote:
                poll_s, address = (0.5, remote.uri) if remote else (POLL_S, "")
                run = KilledRun(corpus, around, SETTINGS, Surroundings(store=address, poll_s=poll_s))
                done = _run_with(run, number, kills, findings.seconds)
                store = remote.copy(around / "copy") if remote else open_store(run.store)
            different = differences(wanted, read_outcome(store, run.store))
            findings.runs.append(ComparedRun(kills=done, different=different, redone=redone_jobs(store.uri)))
            print("\n".join(_rows(findings.runs[-1])), flush=True)
            if remote:
                print(remote.summary(), flush=True)
    return findings


def redone_jobs(store: str) -> tuple[str, ...]:
    """The jobs that more than one attempt finished by its own work."""
    records = read_flow_history(open_store(store)).records
    done = [stage.job for record in records for stage in record.stages if not stage.reused]
    return tuple(sorted({job for job in done if done.count(job) > 1}))


def _run_with(run: KilledRun, number: int, kills: Sequence[Kill], seconds: Mapping[str, float]) -> tuple[Killed, ...]:
    """Run to the end with these kills; those of stages that ended too soon are left out."""
    done = []
    for kill in kills:
        run.wait_for(kill.stage)
        if run.has_finished:
            break
        after_s = run.wait_for_checkpoint(kill.stage) if kill.behind_checkpoint else 0.0
        after_s += run.sleep(kill.share * (1 if kill.behind_checkpoint else seconds[kill.stage]))
        stage, step = run.stage, run.newest_checkpoint(kill.stage)
        victim = run.kill(kill.victim)
        went_on, left = run.settle()
        done.append(
            Killed(
                run=number,
                stage=stage,
                after_s=after_s,
                step=step if stage == kill.stage else 0,
                victim=victim,
                went_on=went_on,
                left_behind=left,
            )
        )
    run.finish()
    return tuple(done)


def _rows(run: ComparedRun) -> list[str]:
    equal = "yes" if not (run.different or run.redone) else "no: " + ", ".join((*run.different, *run.redone))
    return [
        f"| {kill.run} | {kill.stage} | {kill.after_s:.1f} s | {kill.step or ''} | {kill.victim} | {kill.went_on} "
        f"| {equal} |"
        for kill in run.kills
    ]


def main() -> int:
    """Kill, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder for the corpus and the stores")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--first", type=int, default=1, help="number of the first run to do, to go on after a break")
    parser.add_argument("--s3", action="store_true", help="the killed runs have their stores in a failing S3")
    options = parser.parse_args()
    columns = ("run", "killed in", "after", "checkpoint of step", "what was killed", "and then", "end equal")
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    findings = run_kills(options.folder, options.kills, options.seed, options.first, in_s3=options.s3)
    for line in findings.failed:
        print(line)
    return 1 if findings.failed else 0


if __name__ == "__main__":
    sys.exit(main())
