"""Counts and times of a server in Prometheus' text format (version 0.0.4)."""

from collections import Counter
from collections.abc import Iterator, Sequence

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_STUDIES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)


class Histogram:
    """Numbers counted in buckets."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Count `value`."""
        self._counts[sum(value > bound for bound in self._bounds)] += 1
        self._sum += value

    def lines(self, name: str, meaning: str) -> Iterator[str]:
        """The histogram as metric `name`."""
        yield from _head(name, meaning, "histogram")
        total = 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            yield f'{name}_bucket{{le="{bound}"}} {total}'
        yield f"{name}_sum {self._sum:.6f}"
        yield f"{name}_count {total}"


class ServingMetrics:
    """What a server process counts. Only its event loop changes it."""

    def __init__(self) -> None:
        self.num_pending = 0
        self.seconds = Histogram(_SECONDS)
        self.batch_sizes = Histogram(_STUDIES)
        self._requests: Counter[tuple[str, int, str]] = Counter()

    def count(self, path: str, status: int, code: str = "") -> None:
        """Count an answer to `path`; `code` is that of an error."""
        self._requests[path, status, code] += 1

    def render(self, model: str) -> str:
        """All metrics as text; `model` is what writes the reports now."""
        return "\n".join([*self._lines(model), ""])

    def _lines(self, model: str) -> Iterator[str]:
        yield from _head("trrg_requests_total", "Answers by path, status and code of the error.", "counter")
        for (path, status, code), count in sorted(self._requests.items()):
            labels = f'path="{_escaped(path)}",status="{status}",code="{_escaped(code)}"'
            yield f"trrg_requests_total{{{labels}}} {count}"
        yield from _head("trrg_pending_requests", "Requests that are being read, decoded or written.", "gauge")
        yield f"trrg_pending_requests {self.num_pending}"
        yield from self.seconds.lines("trrg_report_seconds", "Seconds from a request to its report.")
        yield from self.batch_sizes.lines("trrg_batch_studies", "Studies in the batch that a report was written in.")
        yield from _head("trrg_model_info", "The model that writes the reports.", "gauge")
        yield f'trrg_model_info{{model="{_escaped(model)}"}} 1'


def _head(name: str, meaning: str, kind: str) -> Iterator[str]:
    yield f"# HELP {name} {meaning}"
    yield f"# TYPE {name} {kind}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
