"""Bodies of the parser's HTTP interface: JSON in, reports with their ids out. Errors never quote what was sent."""

import json
from dataclasses import dataclass
from typing import Any

from pipelines.serving.api_error import ApiError
from trrg_core.labels import Policy
from trrg_core.report.chexbert import Convention

MAX_REPORTS = 1_000
MAX_CHARACTERS = 100_000  # of one report
_MOST_ID_CHARACTERS = 200
_POLICIES = ("keep", "u-zeros", "u-ones", "u-ignore")


@dataclass(frozen=True, kw_only=True)
class TextsRequest:
    """Reports to read, in order, and the convention of their labels."""

    texts: tuple[tuple[str | int, str], ...]
    convention: Convention = "literal"
    parents: bool = False
    policy: Policy | None = None


def read_texts_request(body: bytes, *, with_convention: bool) -> TextsRequest:
    """The reports of a JSON body.

    Raises:
        ApiError: 400, with the field that is wrong, what was expected there, and the kind of value found.
    """
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:  # the first also for a number of thousands of digits
        at = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise ApiError(400, "not_json", f"the body is not JSON{at}") from error
    if not isinstance(given, dict):
        raise _wrong("the body", "an object", given)
    known = {"reports", *(("convention", "parents", "policy") if with_convention else ())}
    if unknown := sum(name not in known for name in given):
        raise ApiError(400, "unknown_field", f"{unknown} unknown fields; known are {', '.join(sorted(known))}")
    reports = given.get("reports")
    if not isinstance(reports, list) or not reports:
        raise _wrong("reports", "a list of objects with id and text", reports)
    if len(reports) > MAX_REPORTS:
        raise ApiError(413, "too_many_reports", f"{len(reports)} reports, the limit is {MAX_REPORTS}")
    texts = tuple(_read_report(report, number) for number, report in enumerate(reports))
    return TextsRequest(texts=texts, **(_read_convention(given) if with_convention else {}))


def _read_report(report: Any, number: int) -> tuple[str | int, str]:
    if not isinstance(report, dict):
        raise _wrong(f"reports[{number}]", "an object with id and text", report)
    report_id, text = report.get("id", number), report.get("text")
    if not isinstance(text, str):
        raise _wrong(f"reports[{number}].text", "a string", text)
    if len(text) > MAX_CHARACTERS:
        raise ApiError(413, "report_too_long", f"reports[{number}].text: at most {MAX_CHARACTERS} characters")
    if isinstance(report_id, bool) or not isinstance(report_id, str | int):
        raise _wrong(f"reports[{number}].id", "a string or a whole number", report_id)
    if isinstance(report_id, str) and len(report_id) > _MOST_ID_CHARACTERS:
        raise ApiError(400, "id_too_long", f"reports[{number}].id: at most {_MOST_ID_CHARACTERS} characters")
    return report_id, text


def _read_convention(given: dict[str, Any]) -> dict[str, Any]:
    convention, policy = given.get("convention", "literal"), given.get("policy", "keep")
    parents = given.get("parents", False)
    if convention not in ("literal", "chexpert"):
        raise _wrong("convention", "literal or chexpert", convention)
    if policy not in _POLICIES:
        raise _wrong("policy", " or ".join(_POLICIES), policy)
    if not isinstance(parents, bool):
        raise _wrong("parents", "true or false", parents)
    return {"convention": convention, "policy": None if policy == "keep" else policy, "parents": parents}


def _wrong(field: str, expected: str, found: object) -> ApiError:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "nothing"}
    kind = kinds.get(type(found), "a number")
    # the value itself may be report text
    return ApiError(400, "wrong_field", f"{field}: expected {expected}, found another value ({kind})")
