"""The result of a job as one line for a person, and as JSON."""

from pipelines.records.job_result import JobResult, describe, from_json, to_json


def test_the_last_line_of_a_job_names_counts_rejects_and_reuse() -> None:
    result = JobResult(job="parse", ref="reports@1", counts={"rows": 3}, rejects={"empty": 2}, reused=True, seconds=4)
    assert describe(result) == "parse: reports@1 (reused); rows 3, set aside 2 (empty 2); 4.0 s"


def test_many_counts_are_cut_to_the_first_ones() -> None:
    result = JobResult(job="evaluate", ref="evaluate-0", counts={f"score{at}": at for at in range(11)})
    assert "score7 7 and 3 more" in describe(result)


def test_json_keeps_every_field() -> None:
    result = JobResult(
        job="evaluate",
        ref="evaluate-0",
        counts={"bleu": 0.25},
        rejects={"empty": 1},
        notes={"report": "r.html"},
        reused=True,
        seconds=1.5,
    )
    assert from_json(to_json(result)) == result
