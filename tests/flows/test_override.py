"""`trrg register --override`: the reason reaches the configuration of this one registration."""

from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli import app, chain


@pytest.fixture
def overrides(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The reason in the configuration of each job that the command line runs."""
    seen: list[str] = []

    def run_job(_job: Any, config: Any, *_: Any, **__: Any) -> None:
        seen.append(config.register_.override)

    monkeypatch.setattr(chain, "run_one_job", run_job)
    return seen


@pytest.mark.parametrize("reason", ["", "agreed: see 'minutes', #4"])
def test_the_reason_is_passed_on_as_it_is_written(overrides: list[str], reason: str) -> None:
    words = ["--override", reason] if reason else []
    assert CliRunner().invoke(app, ["register", *words]).exit_code == 0
    assert overrides == [reason]


def test_no_other_job_has_the_option(overrides: list[str]) -> None:
    assert CliRunner().invoke(app, ["evaluate", "--override", "because"]).exit_code == 2
    assert overrides == []
