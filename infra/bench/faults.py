"""Whole runs while something around them fails, and whether each ends as an undisturbed run does.

python -m infra.bench.faults /tmp/kills s3 shm-and-clock tmpdir two

The folder is that of `infra.bench.kills`: an undisturbed run in it is used, else made. Needs Linux, and for two of them
the right to mount. The clock that jumps is that of the Python processes, not the system's. Prints a table in Markdown;
ends with 1 if a run ended otherwise.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.bench.failing_s3 import failing_store
from infra.bench.killed_run import KilledRun, Surroundings
from infra.bench.kills import SETTINGS, STUDIES, redone_jobs
from infra.bench.store_outcome import Outcome, differences, read_outcome
from trrg_core.sources.sample.layout import write_sample
from trrg_core.storage.store import Store, open_store

# of each Python process: the clock of the system is not this bench's to set, and under libfaketime no Prefect server
# starts in time
_CLOCK = """
import os, time
_time, _time_ns, _monotonic, _place = time.time, time.time_ns, time.monotonic, os.environ["TRRG_BENCH_CLOCK"]
_known = [0.0, -9.0]
def _offset():
    if _monotonic() - _known[1] > 0.5:
        _known[1] = _monotonic()
        try:
            with open(_place) as file:
                _known[0] = float(file.read() or 0)
        except OSError:
            pass
    return _known[0]
# with names of their own, by which they are pickled
def other_time():
    return _time() + _offset()
def other_time_ns():
    return _time_ns() + int(_offset() * 1e9)
time.time, time.time_ns = other_time, other_time_ns
"""
# a mount that only this command and what it starts can see
_PRIVATE = ("unshare", "--mount", "--propagation", "private", "sh", "-c")
JUMP_AT = "pretrain"


@dataclass(frozen=True, kw_only=True)
class FaultResult:
    """A run under a fault: what was done to it, what came of it, and what differs from the undisturbed run."""

    fault: str
    went_on: str
    different: tuple[str, ...]
    redone: tuple[str, ...]


def run_s3(corpus: Path, folder: Path, wanted: Outcome) -> FaultResult:
    """The store is in S3, where requests are answered by 503, reset or late at random."""
    with failing_store() as store:
        run = KilledRun(corpus, folder, SETTINGS, Surroundings(store=store.uri, poll_s=3))
        run.finish()
        copy = store.copy(folder / "copy")
    return _compared(store.summary(), "went on by itself", copy, wanted, written_as=run.store)


def run_shm_and_clock(corpus: Path, folder: Path, wanted: Outcome) -> FaultResult:
    """1 MB of /dev/shm, and a clock that goes an hour forth and two back while the run trains."""
    clock = folder / "clock"
    clock.mkdir(parents=True, exist_ok=True)
    (clock / "sitecustomize.py").write_text(_CLOCK)
    offset = clock / "offset"
    offset.write_text("0")
    variables = {
        "TRRG_BENCH_CLOCK": str(offset),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(clock), os.environ.get("PYTHONPATH", "")))),
    }
    small = (*_PRIVATE, 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$@"', "sh")
    run = KilledRun(corpus, folder, SETTINGS, Surroundings(wrapper=small, environment=variables))
    run.wait_for(JUMP_AT)
    offset.write_text("3600")
    time.sleep(20)
    offset.write_text("-3600")
    run.finish()
    what = f"/dev/shm of 1 MB; in {JUMP_AT} the clock goes an hour forth, then two back"
    return _compared(what, "went on by itself", open_store(run.store), wanted)


def run_tmpdir(corpus: Path, folder: Path, wanted: Outcome) -> FaultResult:
    """TMPDIR is on a full disk, and has room again when the run is started once more."""
    place = folder / "tmp"
    place.mkdir(parents=True, exist_ok=True)
    script = 'mount -t tmpfs -o size=2m tmpfs "$TMPDIR" && { cat /dev/zero > "$TMPDIR/full" 2>/dev/null; exec "$@"; }'
    full = Surroundings(wrapper=(*_PRIVATE, script, "sh"), environment={"TMPDIR": str(place)})
    run = KilledRun(corpus, folder, SETTINGS, full)
    run.start()
    code, line = run.end_of_attempt()
    went_on = f"ended with exit code {code} ({line[:160]})" if code else "went on by itself"
    run.around = Surroundings(environment={"TMPDIR": str(place)})
    run.finish()
    return _compared("TMPDIR on a full disk", went_on + ", was started again", open_store(run.store), wanted)


def run_two(corpus: Path, folder: Path, wanted: Outcome) -> FaultResult:
    """Two runs at once on one store."""
    both = [
        KilledRun(corpus, folder / name, SETTINGS, Surroundings(store=str(folder / "store"), poll_s=1))
        for name in ("one", "other")
    ]
    for run in both:
        run.start()
    ends = [run.end_of_attempt() for run in both]
    for run in both:
        run.finish()
    went_on = "; ".join("ended well" if code == 0 else f"exit code {code} ({line[:120]})" for code, line in ends)
    return _compared("two runs at once on one store", went_on, open_store(both[0].store), wanted)


FAULTS: Mapping[str, Callable[[Path, Path, Outcome], FaultResult]] = {
    "s3": run_s3,
    "shm-and-clock": run_shm_and_clock,
    "tmpdir": run_tmpdir,
    "two": run_two,
}


def _compared(what: str, went_on: str, store: Store, wanted: Outcome, *, written_as: str = "") -> FaultResult:
    return FaultResult(
        fault=what,
        went_on=went_on,
        different=differences(wanted, read_outcome(store, written_as)),
        redone=redone_jobs(store.uri),
    )


def main() -> int:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder for the corpus and the stores")
    parser.add_argument("faults", nargs="+", choices=FAULTS, help="what to try, in this order")
    options = parser.parse_args()
    corpus, calm = options.folder / "corpus", options.folder / "undisturbed"
    if not corpus.exists():
        write_sample(corpus, num_studies=STUDIES, seed=7)
    KilledRun(corpus, calm, SETTINGS).finish()
    wanted = read_outcome(open_store(str(calm / "store")))
    print("| fault | and then | end equal |\n| --- | --- | --- |", flush=True)
    is_equal = True
    for name in options.faults:
        result = FAULTS[name](corpus, options.folder / f"fault-{name}", wanted)
        is_equal = is_equal and not result.different
        equal = "no: " + ", ".join(result.different) if result.different else "yes"
        again = f"; run twice: {', '.join(result.redone)}" if result.redone else ""
        print(f"| {result.fault} | {result.went_on}{again} | {equal} |", flush=True)
    return 0 if is_equal else 1


if __name__ == "__main__":
    sys.exit(main())
