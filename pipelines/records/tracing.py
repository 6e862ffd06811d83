"""Traces of runs for OpenTelemetry: a span per run of a flow, and one per stage in it.

Off by default; `TRRG_TRACES=otlp` sends spans to the collector that OpenTelemetry's own variables name
(`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME`, ...). A span has references, counts and kinds of errors, never a
message and never report text.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from trrg_core.errors import ConfigError
from trrg_core.extras import install_command

TRACES = "TRRG_TRACES"
KINDS = ("none", "otlp")
_EXPORTER = "opentelemetry.exporter.otlp.proto.http"


class Span:
    """What a block may say of itself; does nothing where traces are off."""

    def __init__(self, span: Any = None) -> None:
        self._span = span

    def note(self, **values: str | float | bool) -> None:
        """Add attributes, which are named `trrg.NAME`."""
        if self._span is not None:
            self._span.set_attributes({f"trrg.{name}": value for name, value in values.items()})


@contextmanager
def span(name: str, **values: str) -> Iterator[Span]:
    """A span that lasts as long as the block, within that of the caller; an error is noted by its kind alone."""
    provider = _provider()
    if provider is None:
        yield Span()
        return
    from opentelemetry.trace import Status, StatusCode

    tracer = provider.get_tracer("trrg")
    with tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as current:
        made = Span(current)
        made.note(**values)
        try:
            yield made
        except BaseException as error:
            current.set_status(Status(StatusCode.ERROR, type(error).__name__))
            made.note(error=type(error).__name__)
            raise


def _provider() -> Any:
    """OpenTelemetry's provider of tracers: that of the process if it has one, else one as `TRRG_TRACES` says; or None.

    Raises:
        ConfigError: for an unknown kind, or if the extra `otel` is not installed.
    """
    kind = os.environ.get(TRACES, "") or "none"
    if kind not in KINDS:
        raise ConfigError(f"{TRACES} is {kind!r}: expected one of {', '.join(KINDS)}")
    if kind == "none":
        return None
    if not _has("opentelemetry.sdk.trace"):
        raise _missing(kind)
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    existing = trace.get_tracer_provider()
    if isinstance(existing, TracerProvider):
        return existing
    if not _has(_EXPORTER):
        raise _missing(kind)
    return _set_up()


def _missing(kind: str) -> ConfigError:
    return ConfigError(f"{TRACES}={kind} needs the extra 'otel': {install_command('otel')}")


def _has(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a package above it
        return False


def _set_up() -> Any:
    """Make the provider of this process; its spans are sent in the background, and the rest when it ends."""
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    service: Mapping[str, str] = {} if "OTEL_SERVICE_NAME" in os.environ else {SERVICE_NAME: "trrg"}
    provider = TracerProvider(resource=Resource.create(service))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider
