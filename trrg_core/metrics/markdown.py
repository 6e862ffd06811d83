"""Tables in Markdown, for score tables and the model card."""

from collections.abc import Collection, Iterable, Sequence


def markdown_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: Collection[int] = ()
) -> list[str]:
    """The lines of a table; the columns at the indices `numeric` are aligned right."""
    rule = ["---:" if index in numeric else "---" for index in range(len(columns))]
    return [_line(columns), _line(rule), *(_line(row) for row in rows)]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
