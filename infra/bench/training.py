"""Training benchmarks: step overhead, ZeRO beside DDP, input stall, checkpoint stall, resume.

`python -m infra.bench.training`, or one section with `--only NAME`. Each section prints a table and a verdict. Steps
are measured in CPU seconds, which depend little on other work on the machine; stalls and resume in wall seconds, so
run them on a quiet machine. The last line sums up the verdicts; exits 1 if a floor is not reached.
"""

import argparse
import os
import sys
from collections.abc import Callable

ROUNDS = 3


def main() -> int:
    """Runs the sections and prints their tables and verdicts; returns 0 if every floor is reached."""
    os.environ["OMP_NUM_THREADS"] = "1"  # as a worker; read when torch is first imported, here or in a child process
    sections: dict[str, Callable[[int], bool]] = {
        "steps": _bench_steps,
        "zero": _bench_zero,
        "input": _bench_input,
        "checkpoint": _bench_checkpoint,
        "resume": _bench_resume,
    }
    arguments = argparse.ArgumentParser(prog="python -m infra.bench.training", description=__doc__)
    arguments.add_argument("--only", choices=sections, action="append", help="run only this section; repeatable")
    arguments.add_argument("--rounds", type=int, default=ROUNDS, help="number of measurements of each kind")
    options = arguments.parse_args()
    passed = {}
    for name in options.only or sections:
        print(f"\n{name}", flush=True)
        passed[name] = sections[name](options.rounds)
    below = [name for name, is_passed in passed.items() if not is_passed]
    print(
        f"\nfloors reached: {len(passed) - len(below)} of {len(passed)}"
        + (f"; below: {', '.join(below)}" if below else "")
    )
    return 1 if below else 0


# each section imports torch, so the modules are imported once the environment is set


def _bench_steps(rounds: int) -> bool:
    from infra.bench.training_steps import bench_steps

    return bench_steps(rounds)


def _bench_zero(rounds: int) -> bool:
    from infra.bench.training_zero import bench_zero

    return bench_zero(rounds)


def _bench_input(rounds: int) -> bool:
    from infra.bench.training_feed import bench_input

    return bench_input(rounds)


def _bench_checkpoint(rounds: int) -> bool:
    from infra.bench.training_checkpoint import bench_checkpoint

    return bench_checkpoint(rounds)


def _bench_resume(rounds: int) -> bool:
    from infra.bench.training_resume import bench_resume

    return bench_resume(rounds)


if __name__ == "__main__":
    sys.exit(main())
