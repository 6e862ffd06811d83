import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "trrg_core"
PACKAGES = ("trrg_core", "pipelines", "flows")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MAX_LOOSE_MODULES = 7
MAX_PARAMETERS = 10
CONTAINERS = {"dict", "list", "set", "defaultdict", "Counter", "deque", "OrderedDict"}
MUTATORS = {"append", "extend", "insert", "update", "setdefault", "add", "discard", "remove", "clear", "pop", "popitem"}


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _is_container(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Call):
        return ast.unparse(value.func).rpartition(".")[2] in CONTAINERS
    return isinstance(value, ast.Dict | ast.List | ast.Set | ast.DictComp | ast.ListComp | ast.SetComp)


def _containers(tree: ast.Module) -> set[str]:
    """Module-level names of mutable containers."""
    names = set()
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if targets and _is_container(node.value):
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def _changed_names(node: ast.AST) -> Iterator[str]:
    """Names that `node` changes in place: by subscript, by a method, or through `global`."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign | ast.Delete):
        targets = [target for target in node.targets if isinstance(target, ast.Subscript)]
    elif isinstance(node, ast.AugAssign | ast.AnnAssign) and isinstance(node.target, ast.Subscript):
        targets = [node.target]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
        targets = [node.func]
    elif isinstance(node, ast.Global):
        yield from node.names
    for target in targets:
        value = target.value if isinstance(target, ast.Subscript | ast.Attribute) else target
        if isinstance(value, ast.Name):
            yield value.id


def mutable_globals(source: str) -> set[str]:
    """Module-level containers of `source` that its functions change, and every name declared `global`."""
    tree = ast.parse(source)
    containers = _containers(tree)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    declared = {name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names}
    changed = set()
    for function in functions:
        local = {
            node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        } | {argument.arg for argument in ast.walk(function.args) if isinstance(argument, ast.arg)}
        changed |= {name for node in ast.walk(function) for name in _changed_names(node)} - local
    return containers & changed | declared


def too_many_parameters(source: str) -> list[str]:
    """Functions of `source` with more than MAX_PARAMETERS parameters."""
    functions = [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return [
        function.name
        for function in functions
        if len([*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]) > MAX_PARAMETERS
    ]


def test_few_modules_are_outside_the_packages_of_core() -> None:
    loose = [path.name for path in CORE.glob("*.py")]
    assert len(loose) <= MAX_LOOSE_MODULES, loose


def test_no_two_modules_of_core_have_the_same_name() -> None:
    names = Counter(path.stem for path in CORE.rglob("*.py") if path.stem != "__init__")
    assert [name for name, count in names.items() if count > 1] == []


def test_no_module_changes_a_global() -> None:
    found = {_name(path): mutable_globals(path.read_text("utf-8")) for path in MODULES}
    assert {name: names for name, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "change",
    ["CACHE[key] = 1", "CACHE[key] += 1", "del CACHE[key]", "CACHE.update({key: 1})", "CACHE.setdefault(key, 1)"],
)
def test_the_search_for_changed_globals_finds_them(change: str) -> None:
    assert mutable_globals(f"CACHE: dict = {{}}\ndef f(key):\n    {change}\n") == {"CACHE"}


def test_the_search_for_changed_globals_leaves_constants_and_locals() -> None:
    assert not mutable_globals("TABLE = {1: 2}\ndef f(key):\n    TABLE = {}\n    TABLE[key] = 1\n")
    assert not mutable_globals("TABLE = {1: 2}\ndef f(key):\n    return TABLE[key]\n")
    assert not mutable_globals("TABLE = {}\nTABLE[1] = 2\n")


def test_no_function_takes_more_than_ten_parameters() -> None:
    # the options of a CLI verb are parameters of its function
    modules = [path for path in MODULES if not path.is_relative_to(ROOT / "flows" / "cli")]
    found = {_name(path): too_many_parameters(path.read_text("utf-8")) for path in modules}
    assert {name: functions for name, functions in found.items() if functions} == {}


def test_the_search_for_long_signatures_finds_them() -> None:
    parameters = ", ".join(f"p{number}" for number in range(MAX_PARAMETERS + 1))
    assert too_many_parameters(f"def f(*, {parameters}): pass") == ["f"]
    assert too_many_parameters("def f(a, b): pass") == []


@pytest.mark.parametrize(
    ("tests", "package"),
    [("tests/core", "trrg_core"), ("tests/pipelines", "pipelines"), ("tests/flows", "flows"), ("tests/infra", "infra")],
)
def test_every_folder_of_tests_has_a_folder_of_code(tests: str, package: str) -> None:
    folders = [path.parent.relative_to(ROOT / tests) for path in (ROOT / tests).rglob("test_*.py")]
    assert folders
    assert [folder.as_posix() for folder in folders if not (ROOT / package / folder).is_dir()] == []


@pytest.mark.parametrize("package", ["pipelines", "flows"])
def test_parquet_files_are_opened_in_core(package: str) -> None:
    # one function of core maps the failures of a file to StorageError and DataError
    opens = re.compile(r"pyarrow\.parquet|\bParquetFile\b|\bpq\.read_table\b")
    modules = [path for path in MODULES if path.is_relative_to(ROOT / package)]
    assert [_name(path) for path in modules if opens.search(path.read_text("utf-8"))] == []


def test_values_have_names_that_say_what_they_are() -> None:
    lines = [line for path in MODULES for line in path.read_text("utf-8").splitlines()]
    assert sum(bool(re.search(r"\btold\b", line)) for line in lines) < 10
