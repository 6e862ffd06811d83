"""Pairs of reports -> the scores of outside metrics, each by its own program.

A program gets two paths: a file `{"pairs": [{"id", "reference", "hypothesis"}]}`, and where to write
`{"scores": {NAME: {"value": number}}}` or `{"scores": {NAME: {"per_report": {ID: number}}}}`. Scores of single reports
have an interval. A metric that cannot be run is absent with its reason; it never fails the others.
"""

import json
import math
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trrg_core.metrics.outside.known_metrics import KNOWN
from trrg_core.metrics.outside.outside_settings import OutsideMetric, OutsideSettings, check_endpoint
from trrg_core.metrics.report_files.measured_reports import MeasuredScore, known_interval
from trrg_core.metrics.report_files.report_pairs import ReportPairs

Floats = npt.NDArray[np.float64]

# all that a program sees of the environment, besides what its settings name: no tokens, no proxies
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "CUDA_VISIBLE_DEVICES", "HF_HOME", "TORCH_HOME")
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
_ENDPOINT = "TRRG_JUDGE_ENDPOINT"
# it grows without bound near 0 and changes its sign beyond
_INVERSE = re.compile(r"^1\s*/|inverse|reciprocal|(?:^|[^a-z])inv(?:[^a-z]|$)", re.IGNORECASE)


class _UnusableError(Exception):
    """A program gave no scores; the message says why, without a word of the reports."""


@dataclass(frozen=True, kw_only=True)
class OutsideScores:
    """Scores by name, and the reason for each metric that gave none."""

    scores: Mapping[str, MeasuredScore]
    absent: Mapping[str, str]


def score_outside(pairs: ReportPairs, settings: OutsideSettings, weights: Floats) -> OutsideScores:
    """The scores of every metric with a program; every other known one is absent, with what it needs.

    Args:
        pairs: references and hypotheses.
        settings: the programs.
        weights: resamples of the pairs `[B,N]`, for the intervals.

    Raises:
        ConfigError: if an endpoint may not be used.
    """
    scores: dict[str, MeasuredScore] = {}
    absent = {
        name: f"no program is named for it; it needs {known.needs}"
        for name, known in KNOWN.items()
        if name not in settings.metrics
    }
    for name, metric in settings.metrics.items():
        check_endpoint(name, metric, settings)
        try:
            scores |= _summarise(name, _run(name, metric, pairs), pairs, weights)
        except _UnusableError as error:
            needs = f"; it needs {KNOWN[name].needs}" if name in KNOWN else ""
            absent[name] = f"{error}{needs}"
    return OutsideScores(scores=scores, absent=absent)


def _run(name: str, metric: OutsideMetric, pairs: ReportPairs) -> Mapping[str, Any]:
    """What a program wrote."""
    with tempfile.TemporaryDirectory(prefix="trrg-outside-") as folder:
        source, target = Path(folder) / "pairs.json", Path(folder) / "scores.json"
        rows = [
            {"id": key, "reference": reference, "hypothesis": hypothesis}
            for key, reference, hypothesis in zip(pairs.ids, pairs.references, pairs.hypotheses, strict=True)
        ]
        source.write_text(json.dumps({"pairs": rows}), "utf-8")
        _call([*_command(name, metric), str(source), str(target)], metric)
        try:
            written = json.loads(target.read_text("utf-8"))
        except FileNotFoundError:
            raise _UnusableError("its program wrote no file of scores") from None
        except (ValueError, RecursionError):
            raise _UnusableError("its program wrote a file that is not JSON") from None
    scores = written.get("scores") if isinstance(written, dict) else None
    if not isinstance(scores, dict) or not scores:
        raise _UnusableError('its program wrote no object "scores"')
    return scores


def _command(name: str, metric: OutsideMetric) -> list[str]:
    if metric.command:
        return list(metric.command)
    program = resources.files("trrg_core.metrics.outside").joinpath("radeval_program.py")
    return [metric.python, str(program), KNOWN[name].flag]


def _call(command: list[str], metric: OutsideMetric) -> None:
    names = (*_ENVIRONMENT, *metric.environment)
    environment = {name: os.environ[name] for name in names if name in os.environ} | _OFFLINE
    if metric.endpoint:
        environment[_ENDPOINT] = metric.endpoint
    try:
        with open(metric.log or os.devnull, "ab") as log:
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
            try:
                status = process.wait(metric.timeout_s)
            except subprocess.TimeoutExpired:
                raise _UnusableError(f"its program ran longer than {metric.timeout_s:g} s and was stopped") from None
            finally:
                _stop(process)
    except OSError as error:
        raise _UnusableError(f"{error.filename} cannot be run or written: {error.strerror}") from None
    if status != 0:
        where = f"; its messages are in {metric.log}" if metric.log else "; name a `log` to see its messages"
        raise _UnusableError(f"its program ended with status {status}{where}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a program that is still running, with all that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _summarise(
    metric: str, written: Mapping[str, Any], pairs: ReportPairs, weights: Floats
) -> dict[str, MeasuredScore]:
    scores = {}
    for key, given in written.items():
        if metric == "radcliq" and _INVERSE.search(key):
            raise _UnusableError(f"its program wrote {key!r}; RadCliQ itself is wanted, never its inverse")
        if not isinstance(given, dict):
            raise _UnusableError(f"its program wrote no object for {key!r}")
        name = key if key == metric or key.startswith((f"{metric}.", f"{metric}_")) else f"{metric}.{key}"
        scores[name] = (
            _of_reports(key, given["per_report"], pairs, weights)
            if isinstance(given.get("per_report"), dict)
            else MeasuredScore(value=_number(key, given.get("value")), low=None, high=None, n=len(pairs.ids))
        )
    return scores


def _of_reports(key: str, given: Mapping[str, Any], pairs: ReportPairs, weights: Floats) -> MeasuredScore:
    """The mean over the reports that have a score, null ones left out, with its interval."""
    unknown = [name for name in given if name not in set(pairs.ids)]
    if unknown:
        raise _UnusableError(f"its program wrote {key!r} of {len(unknown)} ids that it was not given")
    values = np.array([np.nan if given.get(name) is None else _number(key, given[name]) for name in pairs.ids])
    known = ~np.isnan(values)
    if not known.any():
        raise _UnusableError(f"its program wrote {key!r} of no report")
    drawn = weights[:, known]
    total = drawn.sum(axis=1)
    samples = np.divide(drawn @ values[known], total, out=np.full(len(total), np.nan), where=total > 0)
    low, high = known_interval(samples) if len(samples) else (None, None)
    return MeasuredScore(value=float(values[known].mean()), low=low, high=high, n=int(known.sum()))


def _number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _UnusableError(f"its program wrote {key!r} that is no finite number")
    return float(value)
