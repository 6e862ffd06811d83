"""JSON log lines: one object each, with the ids of the run, and nothing that an exception quotes."""

import json
import logging
import logging.config
import sys

import pytest

from pipelines.records.json_log import LOG_FORMAT, JsonFormatter, current_ids, log_ids, set_up_logging
from trrg_core.errors import ConfigError
from trrg_core.storage.background import in_background

CANARY = "moderate cardiomegaly with a left effusion"


def formatted(message: str, *arguments: object, **words: object) -> dict[str, object]:
    record = logging.LogRecord("pipelines.x", logging.INFO, __file__, 1, message, arguments, None)
    vars(record).update(words)
    text = JsonFormatter("default").format(record)
    assert "\n" not in text
    line: dict[str, object] = json.loads(text)
    return line


def test_a_line_has_its_ids_and_numbers() -> None:
    with log_ids(flow_run="f1", stage=""), log_ids(stage="parse"):
        line = formatted("%d of %d\nparsed", 3, 9, label="parse steps", done=3, total=9)
    assert line["message"] == "3 of 9\nparsed"
    assert (line["level"], line["logger"], line["flow_run"], line["stage"]) == ("info", "pipelines.x", "f1", "parse")
    assert (line["label"], line["done"], line["total"]) == ("parse steps", 3, 9)
    assert str(line["time"]).endswith("+00:00")
    assert "flow_run" not in formatted("later")


def test_an_exception_leaves_its_kind_and_place_but_not_what_it_quotes() -> None:
    try:
        raise ValueError(CANARY)
    except ValueError:
        line = formatted("failed", exc_info=sys.exc_info())
    assert (line["error"], line["message"]) == ("ValueError", "failed")
    assert "test_json_log.py" in str(line["at"])
    assert "cardiomegaly" not in json.dumps(line)


def test_a_thread_beside_a_block_has_its_ids() -> None:
    seen = []
    with log_ids(stage="shard"), in_background(lambda stop: seen.append(current_ids()), name="x"):
        pass
    assert seen == [{"stage": "shard"}]


def test_the_variable_selects_the_format(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    for name in ("", "pipelines"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.getLogger(name).level)
    monkeypatch.setenv(LOG_FORMAT, "xml")
    with pytest.raises(ConfigError, match=r"TRRG_LOG_FORMAT is 'xml': expected one of text, json"):
        set_up_logging(())
    monkeypatch.setenv(LOG_FORMAT, "json")
    set_up_logging(("pipelines",))
    logging.getLogger("pipelines.y").info("done")
    logging.getLogger("library").info("not shown")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"] == "done"


def test_prefect_writes_such_lines_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.logging.configuration import DEFAULT_LOGGING_SETTINGS_PATH, load_logging_config

    from pipelines.records.json_log import PREFECT_JSON

    for name, value in PREFECT_JSON.items():
        monkeypatch.setenv(name, value)
    config = load_logging_config(DEFAULT_LOGGING_SETTINGS_PATH)
    assert config["handlers"]["console"]["formatter"] == "json"
    made = logging.config.DictConfigurator(config).configure_formatter(config["formatters"]["json"])
    assert isinstance(made, JsonFormatter)
