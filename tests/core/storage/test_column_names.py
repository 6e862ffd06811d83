"""A message names columns, and quotes no report where the line of column names is missing."""

import pytest

from trrg_core.storage.column_names import show_columns


@pytest.mark.parametrize(
    "names",
    [
        ("image", "patient", "report"),
        ("Image Index", "Finding Labels", "Follow-up #", "Patient Age"),
        ("", "Unnamed: 0", "section_findings"),
        ("Gr\u00f6\u00dfe (px)",),
    ],
)
def test_names_of_columns_are_shown(names: tuple[str, ...]) -> None:
    assert show_columns(names) == ", ".join(names)


@pytest.mark.parametrize(
    "cell",
    [
        "No acute disease.",
        "The heart is mildly enlarged and there is a small effusion",
        "files/p10/a.jpg",
        "a.DCM",
        "10000032",
        "2026-11-27",
        "Clear.\nNo effusion",
    ],
)
def test_a_first_row_of_data_is_not_shown(cell: str) -> None:
    assert show_columns(("image", cell)) == (
        "2 columns with names that read like data; is the line with the names of columns missing?"
    )


def test_of_many_columns_some_are_shown() -> None:
    assert show_columns([f"c{number}" for number in range(60)]).endswith("c49 and 10 more")
    assert show_columns([]) == "no columns"
