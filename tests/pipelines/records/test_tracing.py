"""Spans of a flow and its stages: one in the other, with references and kinds of errors, and no text of a report."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from flows.flow_log import observed_flow
from pipelines.records import tracing
from pipelines.records.job_result import JobResult
from pipelines.records.tracing import TRACES, span
from pipelines.running import run_job
from trrg_core.config.load import load_config
from trrg_core.errors import ConfigError, DataError

CANARY = "moderate cardiomegaly with a left effusion"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """The spans of the test, kept in memory; the provider of the process is left as it is."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_provider", lambda: provider)
    return exporter


def test_the_spans_of_stages_are_within_that_of_their_flow(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    results = {
        "ingest": JobResult(job="ingest", ref="studies@0", rejects={"no_image": 2}),
        "parse": JobResult(job="parse", ref="reports@0", reused=True),
    }
    monkeypatch.setattr(run_job, "_run", lambda job, *_: results[job.name])
    with observed_flow("run-1", "register"):
        for job in results:
            run_job.run_job(job, load_config("tiny"), str(tmp_path), {"studies": "studies@0"})
    ingest, parse, flow = spans.get_finished_spans()
    assert [one.name for one in (ingest, parse, flow)] == ["stage ingest", "stage parse", "flow to register"]
    assert {ingest.parent.span_id, parse.parent.span_id} == {flow.context.span_id}
    assert dict(ingest.attributes) == {
        "trrg.stage": "ingest",
        "trrg.ref": "studies@0",
        "trrg.reused": False,
        "trrg.set_aside": 2,
    }
    assert dict(flow.attributes) == {"trrg.flow_run": "run-1"}


def test_a_failed_stage_is_marked_by_its_kind_and_quotes_nothing(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    def fail(*_: object) -> JobResult:
        raise DataError("bad_text", CANARY)

    monkeypatch.setattr(run_job, "_run", fail)
    with pytest.raises(DataError):
        run_job.run_job("ingest", load_config("tiny"), str(tmp_path), {})
    (failed,) = spans.get_finished_spans()
    assert (failed.status.is_ok, failed.status.description) == (False, "DataError")
    assert "cardiomegaly" not in failed.to_json()


def test_traces_are_off_by_default_and_say_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TRACES, raising=False)
    with span("x") as made:
        made.note(ref="studies@0")
    monkeypatch.setenv(TRACES, "jaeger")
    with pytest.raises(ConfigError, match=r"TRRG_TRACES is 'jaeger': expected one of none, otlp"), span("x"):
        pass
    monkeypatch.setenv(TRACES, "otlp")
    monkeypatch.setattr(tracing, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs the extra 'otel': pip install 'trrg\[otel\]'"), span("x"):
        pass
