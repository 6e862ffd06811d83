"""Tables on a terminal of 80 columns keep names of findings, dates and references whole; piped ones are not wrapped."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from flows.render.labels import print_counts, print_drift
from flows.render.model_table import print_models
from flows.render.report_labels import print_report_labels
from flows.render.run_summary import print_run
from flows.render.slices import print_slice
from flows.render.terminal import Column, build_table, fits, join_items, print_line, print_table, print_with_notes
from flows.render.versions import print_diff, print_garbage_plan, print_history, print_rejects
from pipelines.jobs.reslice import make_slice
from pipelines.registry.model_list import ListedModel, ScoreValue
from tests.core.toy_versions import LABEL_SET, MAYBE, NO, YES, shard_row, write_version
from trrg_core.label_stats.distribution import LabelCount
from trrg_core.label_stats.divergence import Divergence
from trrg_core.label_stats.drift import Drift, Shift
from trrg_core.labels import Assertion
from trrg_core.metrics.systems import FLOORS, System, metric_key
from trrg_core.slicing.spec import validate_slice_spec
from trrg_core.storage.store import open_store
from trrg_core.study import SPLITS
from trrg_core.tables.schema import shards_schema

LONGEST = "Enlarged Cardiomediastinum"
WHEN = "2026-11-25T20:29:35+00:00"
DATE = "2026-11-25 20:29:35"
RUN = "generate-0123456789abcdef"
WHY = "share 1.00% -> 3.00% (limit 1.5 times), PSI 0.312 (limit 0.2), Jensen-Shannon 0.066 bits (limit 0.05)"

SCORES = (("micro", 0.804), ("macro", 0.809))

SENTENCES = (
    f"{LONGEST} UNCERTAIN: ",
    f"{LONGEST} UNCERTAIN >= 50.0%: ",
    "30 of 30 train studies",
    "what: long",
    "a: long",
)

Draw = Callable[[Callable[[], None]], str]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Draw:
    """What a function prints on a terminal of 80 columns; no line is longer, and nothing is cut."""

    def draw(show: Callable[[], None]) -> str:
        monkeypatch.setenv("TERM", "dumb")  # no colours
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setattr("sys.stdout", screen := _Terminal())
        show()
        shown = screen.getvalue()
        assert "\u2026" not in shown
        # notes and summaries are sentences, which the terminal wraps
        assert not [line for line in shown.splitlines() if len(line) > 80 and not line.startswith(SENTENCES)]
        return shown

    return draw


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Draw:
    """What a function prints into a pipe, whatever the width of the terminal around it."""

    def draw(show: Callable[[], None]) -> str:
        monkeypatch.setenv("COLUMNS", "40")
        monkeypatch.setattr("sys.stdout", screen := io.StringIO())
        show()
        assert "\u2026" not in screen.getvalue()
        return screen.getvalue()

    return draw


def _history() -> None:
    version = {
        "version": "predictions@128",
        "name": "",
        "rows": 227_835,
        "counts": {"studies_in": 227_835, "unsupported_sentences": 12_345},
        "rejects": {"no_report_section": 4_321},
        "parents": ["studies@120", "reports@121", RUN],
        "when": WHEN,
        "code_version": "0123456789abcdef",
        "removed": False,
    }
    print_history([version, version | {"removed": True, "rows": None}])


def _counts() -> None:
    print_counts(
        [
            LabelCount(observation=name, assertion=kind, split=split, studies=56_000, total=222_758, sentences=0)
            for name in ("Edema", LONGEST)
            for split in SPLITS
            for kind in (*Assertion, None)
        ]
    )


def _drift() -> None:
    divergence = Divergence(psi=1.234, js=0.123, chi_square=12345.6, p_value=1.2e-45)
    shift = Shift(name=f"{LONGEST} UNCERTAIN", before=0.01234, after=0.03456, divergence=divergence)
    print_drift(Drift(shifts=(shift, replace(shift, reason=WHY))), only_alarms=False)


def _rejects() -> None:
    row = {
        "job": "ingest",
        "reason": "no_report_section",
        "subject_id": "p10000032",
        "study_id": "s50414267",
        "dicom_id": "02aa804e-bde0afdd-112c0b34-7bc16630-4e384014",
        "path": "files/p10/p10000032/s50414267/02aa804e-bde0afdd-112c0b34-7bc16630-4e384014.jpg",
        "detail": "the report has neither findings nor impression",
    }
    print_rejects({"total": 2, "counts": {"ingest": {"no_report_section": 1}}, "rows": [row]})


def _diff() -> None:
    rule = "UNCERTAIN a_rule_with_a_very_long_name_of_its_own"
    print_diff(
        {
            "rows": {"before": 1, "after": 2},
            "studies": {"added": 1},
            "study_ids": {"added": ["s50414267"]},
            "columns_changed": {},
            "columns_added": [],
            "columns_removed": [],
            "labels": [{"finding": LONGEST, "before": "not mentioned", "after": "not mentioned", "studies": 222_758}],
            "rules": [{"finding": LONGEST, "before": rule, "after": rule, "mentions": 222_758}],
            "label_counts": [
                {"finding": LONGEST, "assertion": "UNCERTAIN", "before": 222_758, "after": 1, "change": -222_757}
            ],
        },
        limit=20,
    )


def _garbage() -> None:
    kept = {RUN: f"named by register-0123456789abcdef, which is named by models:/a-model-with-a-long-name/12 of {RUN}"}
    print_garbage_plan(
        {"kept": kept, "versions": [], "runs": [], "leftover_files": 0, "files": 0, "bytes": 0}, done=False
    )


def _report_labels() -> None:
    labels = {LONGEST: 1, "Lung Opacity": 1, "Pneumothorax": 0}
    print_report_labels([{"id": "s50414267", "labels": labels}, {"id": "2", "labels": {LONGEST: -1}}])
    print_report_labels([{"id": "3", "labels": {LONGEST: 0, "Pleural Other": 0, "Support Devices": -1}}])


def _run() -> None:
    names = ("trrg14.macro.f1.u0", "truth.contradicted_negation_rate")
    scores = {metric_key(system, name): 0.5 for name in names for system in (System.MODEL, *FLOORS)}
    result = {"ref": "evaluate-0123456789abcdef", "reused": False, "seconds": 12_345.6, "rejects": {}}
    print_run({"evaluate": result | {"counts": scores, "notes": {"report": "/a/path/report.html"}}}, LABEL_SET)


def _models() -> None:
    scores = {f"trrg13.{mean}.f1.u0": ScoreValue(value=value, low=0.745, high=0.855) for mean, value in SCORES}
    model = ListedModel(
        model="models:/trrg/12",
        version="12",
        aliases=("best-champion", "challenger", "champion"),
        generator=RUN,
        scores_run=RUN,
        registration=RUN,
        ruling="promoted",
        against=(),
        why="promoted by the gate",
        created_ms=1795638575000,
        data={"shards": "shards@1"},
        scores=scores,
    )
    print_models([model])


@pytest.mark.parametrize(
    ("show", "whole"),
    [
        (_history, (DATE, "predictions@128", "227,835")),
        (_counts, (LONGEST, "56,000", "validate", "\u2588" * 3)),
        (_drift, (f"{LONGEST} UNCERTAIN: {WHY}", f"{LONGEST} UNCERTAIN ", "12345.6 1.2e-45")),
        (_rejects, ("p10000032", "s50414267", "ingest")),
        (_diff, (f"{LONGEST} ", "UNCERTAIN", "222758", "-222757")),
        (_garbage, (RUN,)),
        (_report_labels, (LONGEST, "Lung Opacity", "Pleural Other", "Support Devices", "Pneumothorax")),
        (_run, ("truth.contradicted_negation_rate", "evaluate-0123456789abcdef", "nearest neighbour")),
        (_models, ("models:/trrg/12", "best-champion", "2026-11-25 20:29", "shards@1", "0.804 (0.745 to 0.855)")),
    ],
)
def test_a_narrow_terminal_keeps_names_dates_and_numbers_whole(
    terminal: Draw, show: Callable[[], None], whole: tuple[str, ...]
) -> None:
    shown = terminal(show)
    assert not [text for text in whole if text not in shown]


@pytest.mark.parametrize(
    ("show", "row"),
    [
        (_history, ("predictions@128", "unsupported_sentences 12,345", RUN, DATE, "0123456789abcdef")),
        (_counts, (LONGEST, "train", "56,000", "25.1%", "\u2588" * 10)),
        (_drift, (f"{LONGEST} UNCERTAIN", "1.234", WHY)),
        (_rejects, ("no_report_section", "4e384014.jpg", "the report has neither findings nor impression")),
        (_diff, (LONGEST, "UNCERTAIN a_rule_with_a_very_long_name_of_its_own", "222758")),
        (_garbage, (RUN, f"models:/a-model-with-a-long-name/12 of {RUN}")),
        (_report_labels, ("s50414267", f"{LONGEST}, Lung Opacity", "Pneumothorax")),
        (_run, ("truth.contradicted_negation_rate", "0.500")),
        (_models, ("models:/trrg/12", "best-champion, challenger, champion", "0.804 (0.745 to 0.855)", "0.809")),
    ],
)
def test_piped_output_has_each_row_on_one_line(pipe: Draw, show: Callable[[], None], row: tuple[str, ...]) -> None:
    shown = pipe(show)
    assert [line for line in shown.splitlines() if all(text in line for text in row)], shown


def test_a_slice_with_a_long_reason_keeps_its_names_whole(terminal: Draw, pipe: Draw, tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    rows = [shard_row(str(at), {"Edema": (YES, NO, MAYBE)[at % 3]}) for at in range(30)]
    write_version(store, "shards", rows, shards_schema(LABEL_SET), fingerprint="a")
    quota = {"observation": LONGEST, "assertion": "UNCERTAIN", "share": 0.5}
    sliced = make_slice(
        store, validate_slice_spec({"quotas": [quota, {"observation": "Edema", "count": 20}]}), dry_run=True
    )
    asked, reason = f"{LONGEST} UNCERTAIN >= 50.0%", sliced.plan.outcomes[0].reason
    for text in (
        f"{asked} ",
        f"{asked}: {reason}",
        "Edema PRESENT >= 20: 10 eligible studies, make 10 of 20",
        f"{LONGEST} 0.0% -> 0.0%",
    ):
        assert text in terminal(lambda: print_slice(sliced))
    piped = pipe(lambda: print_slice(sliced))
    assert [line for line in piped.splitlines() if asked in line and reason in line]


def test_what_fits_is_drawn_with_lines_and_what_does_not_is_folded(terminal: Draw) -> None:
    columns = (Column("version", whole=True), Column("code"))
    short = [("reports@1", "0123456789abcdef")]
    assert "\u2502" in terminal(lambda: print_table(build_table(columns, short, title="Versions")))
    shown = terminal(lambda: print_table(build_table(columns, [("reports@1" * 8, "0123456789abcdef")])))
    assert "\u2502" not in shown
    assert "reports@1" * 8 in shown
    assert "".join(line.split()[-1] for line in shown.splitlines()[2:]) == "0123456789abcdef"


def test_items_share_a_line_only_when_piped(terminal: Draw, pipe: Draw) -> None:
    assert terminal(lambda: print_line("  " + join_items(("a", "b")))) == "  a\nb\n"
    assert pipe(lambda: print_line(join_items(("a", "b")))) == "a, b\n"


def test_markup_and_emoji_codes_are_printed_literally(pipe: Draw) -> None:
    table = build_table([Column("path")], [("[bold]:smile:",)])
    assert "[bold]:smile:" in pipe(lambda: print_table(table))
    assert fits(table)


def test_notes_follow_the_table_only_where_they_do_not_fit(terminal: Draw) -> None:
    columns = (Column("what", whole=True), Column("why"))
    fitting = terminal(lambda: print_with_notes(columns, [("a", "short")], note="why", title="  T"))
    assert "a: short" not in fitting
    shown = terminal(lambda: print_with_notes(columns, [("a", "long " * 30), ("b", "")], note="why", title="  T"))
    assert f"a: {'long ' * 30}" in shown
    assert "b:" not in shown
