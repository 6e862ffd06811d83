import pytest

from trrg_core.sources.study_dates import read_date, read_time


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("20240131", "20240131"),
        (" 2024-01-31 ", "20240131"),
        ("2024/01/31", "20240131"),
        ("2024.01.31", "20240131"),
        ("2024-01-31 05:06:07", "20240131"),
        ("2024-01-31T05:06:07.250000", "20240131"),
        ("21000229", "21000229"),  # shifted dates need not be in the calendar of their year
        ("31.01.2024", ""),  # the eight digits of another notation are no date
        ("01/31/2024", ""),
        ("31012024", ""),
        ("2024-13-01", ""),
        ("2024-01-32", ""),
        ("2024-0131", ""),
        ("2024-01-31 5 p.m.", ""),
        ("\u0662\u0660\u0662\u0664-01-31", ""),
        ("", ""),
    ],
)
def test_a_date_is_read_only_with_the_year_first(text: str, date: str) -> None:
    assert read_date(text) == date


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("10:11:12", "101112"),
        ("101112", "101112"),
        ("101112.5", "101112.5"),
        ("2024-01-31 05:06:07", "050607"),
        ("2024-01-31T05:06:07.25", "050607.25"),
        ("31.01.2024 05:06:07", ""),
        ("10:1112", ""),
        ("25:00:00", ""),
        ("10:61:00", ""),
        ("10:11", ""),
        ("", ""),
    ],
)
def test_a_time_of_day_is_read_alone_or_after_a_date(text: str, time: str) -> None:
    assert read_time(text) == time
