"""Report bytes as they come: whatever they hold, a text of one form or a reason, in time that grows with the bytes."""

import time
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trrg_core.errors import DataError
from trrg_core.sources.reading import ReportText, decode_report

ODD = st.sampled_from(["\0", "\r\n", "\r", "\t", "\ufeff", "e\u0301\u0302\u0303", "\u202e", " ", "No effusion.", "___"])


def decoded(data: bytes, ladder: Literal["reject", "cp1252"] = "reject") -> ReportText | DataError:
    try:
        return decode_report(data, on_bad_encoding=ladder)
    except DataError as error:
        return error


@given(st.lists(ODD | st.text(max_size=5), max_size=30).map("".join))
def test_whatever_a_report_holds_its_text_has_one_form(text: str) -> None:
    report = decoded(text.encode("utf-8", errors="surrogatepass"))
    if isinstance(report, ReportText):
        assert not set("\0\r\ufeff") & set(report.text)
        again = decode_report(report.text.encode())
        assert (again.text, again.flags) == (report.text, ())
    else:
        assert report.reason in ("empty_report", "report_not_utf8")


@given(st.binary(max_size=200), st.sampled_from(["reject", "cp1252"]))
def test_bytes_that_are_no_text_have_a_reason_that_does_not_quote_them(
    data: bytes, ladder: Literal["reject", "cp1252"]
) -> None:
    found = decoded(data, ladder)
    if isinstance(found, DataError):
        assert found.reason in ("empty_report", "report_not_utf8")
        assert found.__cause__ is None


@pytest.mark.parametrize(
    "piece", ["\r", "\0", "\ufeff", "\r\n", "a\u0301\u0302\u0303\u0304", "No. ", '"', "\t "], ids=ascii
)
def test_a_megabyte_of_one_thing_takes_less_than_a_second(piece: str) -> None:
    data = (piece * (1_000_000 // len(piece.encode())) + "x").encode()
    start = time.process_time()
    decode_report(data)
    assert time.process_time() - start < 1
