"""Run the tests of tests/security and print a table: what was tried and what held, by class. Run by `make attack`.

A class is a file; its name is the first line of the docstring up to the colon. A case that cannot be tried on this
machine, such as one that needs a GPU, is counted apart.
"""

import ast
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "security"


class Tally:
    """A pytest plugin that counts the outcomes of each file."""

    def __init__(self) -> None:
        self.tried: Counter[str] = Counter()
        self.held: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.broken: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test once: by its call, or by the step before that failed or was skipped."""
        file = report.nodeid.partition("::")[0]
        if report.skipped:
            self.skipped[file] += 1
        elif report.when == "call" or report.failed:
            self.tried[file] += 1
            self.held[file] += report.passed
            if report.failed:
                self.broken.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be read has held nothing."""
        if report.failed:
            self.tried[report.nodeid] += 1
            self.broken.append(report.nodeid)


def class_name(file: str) -> str:
    """The class of a test file."""
    path = ROOT / file
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) if path.is_file() else None
    return (text or Path(file).stem).partition("\n")[0].partition(":")[0].rstrip(".")


def print_table(tally: Tally) -> None:
    """Print the counts of each class and their sum."""
    files = sorted({*tally.tried, *tally.skipped})
    names = {file: class_name(file) for file in files}
    width = max([len("class"), *map(len, names.values())])
    print(f"{'class':{width}}  tried   held  not here")
    for file in files:
        print(f"{names[file]:{width}}  {tally.tried[file]:5}  {tally.held[file]:5}  {tally.skipped[file]:8}")
    print(f"{'all':{width}}  {tally.tried.total():5}  {tally.held.total():5}  {tally.skipped.total():8}")
    for test in tally.broken:
        print(f"did not hold: {test}")


def main() -> int:
    """Run the tests with the arguments of the command line passed on to pytest; 1 unless all held."""
    tally = Tally()
    code = pytest.main([str(FOLDER), "-q", "--no-header", *sys.argv[1:]], plugins=[tally])
    print_table(tally)
    all_held = tally.tried.total() > 0 and tally.held == tally.tried and code == pytest.ExitCode.OK
    return 0 if all_held else 1


if __name__ == "__main__":
    sys.exit(main())
