"""Standard output of the command line: the console, tables that fit the terminal, and single lines.

Every verb that prints a table uses this module, so that all obey the same rules:

- On a terminal a table is narrowed to its width. Columns that are `whole` (names of findings, dates, references,
  numbers) keep their full text on one line; the others are folded, never cut.
- Output that is piped or written to a file is as wide as its content: one line per row, nothing folded.

    columns = (Column("version", whole=True), Column("rows", number=True), Column("counts"))
    print_table(build_table(columns, rows, title="Versions"))
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from flows.render.plain_text import printable

T = TypeVar("T")
UNLIMITED_WIDTH = 100_000  # columns; rich has no unlimited width


@dataclass(frozen=True)
class Column:
    """A column of a terminal table.

    `number` aligns it to the right. A column that is `whole`, or a number, is never folded.
    """

    name: str
    number: bool = False
    whole: bool = False


def open_console() -> Console:
    """A console on standard output that prints text literally: as wide as the terminal, unlimited when piped."""
    width = None if sys.stdout.isatty() else UNLIMITED_WIDTH
    console = Console(width=width, markup=False, highlight=False, emoji=False)
    console.push_render_hook(_Neutral())
    return console


class _Neutral(RenderHook):
    """Writes out the control characters of all that is printed: report text could order the terminal about."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Printable(renderable) for renderable in renderables]


@dataclass(frozen=True)
class _Printable:
    inner: ConsoleRenderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for text, style, control in console.render(self.inner, options):
            yield Segment(printable(text), style, control)


def build_table(columns: Sequence[Column], rows: Iterable[Sequence[RenderableType]], *, title: str = "") -> Table:
    """A table of `rows`, each with one cell per column."""
    table = Table(title=title or None, title_justify="left")
    for column in columns:
        table.add_column(
            column.name,
            justify="right" if column.number else "left",
            no_wrap=column.number or column.whole,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*row)
    return table


def fits(table: Table) -> bool:
    """Whether the terminal is wide enough for the whole table; always so for piped output."""
    width = open_console().width
    return width == UNLIMITED_WIDTH or _natural_width(table) <= width


def fits_folded(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> bool:
    """Whether `print_table` keeps every whole column, every word of the others and every heading in one piece."""
    cells = [[row[at] for row in rows] for at in range(len(columns))]
    widths = [
        max(
            cell_len(word)
            for text in (*(column.name.split("-")), *column_cells)
            for word in ([text] if column.number or column.whole else text.split() or [""])
        )
        for column, column_cells in zip(columns, cells, strict=True)
    ]
    return sum(widths) + len(widths) - 1 <= open_console().width


def print_table(table: Table) -> None:
    """Print a table of `build_table`; where it does not fit, without vertical lines and with columns folded."""
    console = open_console()
    if not fits(table):
        table.box, table.show_edge, table.padding = box.SIMPLE_HEAD, False, (0, 0, 0, 0)
        for column in (column for column in table.columns if column.no_wrap):
            # the heading of a whole column may take several lines, its cells may not
            column.header = str(column.header).replace("-", "-\n")
            words = [*str(column.header).split(), *column.cells]
            column.width = max(Measurement.get(console, console.options, word).maximum for word in words)
            column.no_wrap = False
    console.print(table)


def print_with_notes(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, note: str, title: str = "") -> None:
    """Print a table whose column `note` holds sentences.

    Where the table does not fit, the sentences follow below it, each after the first cell of its row.
    """
    table = build_table(columns, rows, title=title)
    if fits(table):
        print_table(table)
        return
    at = [column.name for column in columns].index(note)
    print_table(build_table(_without(columns, at), [_without(row, at) for row in rows], title=title))
    for row in rows:
        if row[at]:
            print_line(f"{row[0]}: {row[at]}")


def print_line(text: str | Text) -> None:
    """Print one text to standard output as it is; the terminal wraps it."""
    open_console().print(text, soft_wrap=True)


def join_items(items: Iterable[str]) -> str:
    """Several items as one cell: one per line on a terminal, on the line of their row when piped."""
    return ("\n" if sys.stdout.isatty() else ", ").join(items)


def _without(values: Sequence[T], at: int) -> list[T]:
    return [*values[:at], *values[at + 1 :]]


def _natural_width(table: Table) -> int:
    console = open_console()
    return Measurement.get(console, console.options.update(width=UNLIMITED_WIDTH), table).maximum
