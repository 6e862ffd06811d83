import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("trrg_core", "pipelines", "flows")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

# needed for re-slicing; `import spacy` alone imports torch and takes seconds
TEXT_SIDE = (
    "trrg_core.errors",
    "trrg_core.study",
    "trrg_core.labels",
    "trrg_core.tables.schema",
    "trrg_core.report.parsed",
    "trrg_core.config.load",
    "trrg_core.storage.store",
    "trrg_core.tables.delta",
    "trrg_core.runs.results",
    "trrg_core.training.sampling_plan",
    "trrg_core.slicing.plan",
    "trrg_core.label_stats.label_table_cache",
    "trrg_core.label_stats.drift",
    "trrg_core.sql.query",
    "trrg_core.exports.export",
    "pipelines.jobs.reslice",
)
HEAVY = ("torch", "spacy", "scispacy", "transformers", "ray", "prefect", "deepspeed", "mlflow")
# each of these can run code that is part of the data
UNSAFE_CALLS = re.compile(
    r"(pickle|cPickle|cloudpickle|dill|joblib|torch|shelve|marshal)\.(load|loads|open|Unpickler)|pd\.read_pickle"
    r"|pandas\.read_pickle|yaml\.(unsafe_load|full_load)"
)
UNSAFE_KEYWORDS = {("weights_only", False), ("allow_pickle", True), ("trust_remote_code", True)}


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def unsafe_loads(source: str) -> Iterator[str]:
    """Every call in `source` that may run code out of a file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            if UNSAFE_CALLS.fullmatch(ast.unparse(node.func)):
                yield ast.unparse(node.func)
            for keyword in node.keywords:
                if isinstance(keyword.value, ast.Constant) and (keyword.arg, keyword.value.value) in UNSAFE_KEYWORDS:
                    yield f"{keyword.arg}={keyword.value.value}"
        if isinstance(node, ast.ImportFrom) and node.module in ("pickle", "cloudpickle", "dill", "joblib", "marshal"):
            yield f"from {node.module} import"


def test_imports_point_one_way() -> None:
    result = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout[-3000:]
    assert " 0 broken" in result.stdout


def test_the_contracts_say_what_the_design_says() -> None:
    contracts = PYPROJECT["tool"]["importlinter"]["contracts"]
    layers = [one["layers"] for one in contracts if one["type"] == "layers"]
    forbidden = {
        (source, name)
        for one in contracts
        if one["type"] == "forbidden"
        for source in one["source_modules"]
        for name in one["forbidden_modules"]
    }
    assert layers[0] == ["flows", "pipelines", "trrg_core"]
    assert layers[1][0] == "pages"
    assert layers[1][-1] == "errors"
    assert [one.get("exhaustive") for one in contracts if one["type"] == "layers"] == [None, True]
    assert {("trrg_core", name) for name in ("ray", "deepspeed", "prefect", "mlflow")} <= forbidden
    assert ("pipelines", "prefect") in forbidden
    # every package of pipelines, so that a new one is covered too
    packages = {f"pipelines.{path.parent.name}" for path in (ROOT / "pipelines").glob("*/__init__.py")}
    for name, home in (("mlflow", "pipelines.registry"), ("deepspeed", "pipelines.training")):
        assert {(source, name) for source in {"flows", *packages} - {home}} <= forbidden
    assert not [one for one in contracts if one.get("ignore_imports")], "contracts have no exceptions"


def imported_names(source: str) -> Iterator[str]:
    """The full name of every module, and of every name, that `source` imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


# import contracts cannot forbid a part of an external package, such as ray.train
@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("ray.train", ["pipelines/training/*.py"]),
        ("deepspeed", ["pipelines/training/deepspeed_setup.py"]),
        ("mlflow", ["pipelines/registry/*.py"]),
        ("prefect", ["flows/*.py", "flows/*/*.py"]),
    ],
)
def test_a_library_is_imported_in_its_own_place_only(library: str, homes: list[str]) -> None:
    users = {
        _name(path)
        for path in MODULES
        if any(f"{name}.".startswith(f"{library}.") for name in imported_names(path.read_text("utf-8")))
    }
    assert users
    assert users <= {_name(path) for pattern in homes for path in ROOT.glob(pattern)}


@pytest.mark.parametrize("source", ["import ray.train", "from ray.train import report", "from ray import train as t"])
def test_every_form_of_import_is_found(source: str) -> None:
    assert any(f"{name}.".startswith("ray.train.") for name in imported_names(f"def f():\n    {source}"))


def test_the_text_side_imports_nothing_heavy() -> None:
    code = (
        "import importlib, sys\n"
        f"for name in {TEXT_SIDE!r}:\n"
        "    importlib.import_module(name)\n"
        f"    heavy = [one for one in {HEAVY!r} if one in sys.modules]\n"
        "    if heavy: sys.exit(f'{name} imports {heavy}')\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr


def test_importing_ours_starts_and_writes_nothing(tmp_path: Path) -> None:
    names = [*TEXT_SIDE, "flows.cli", "flows.entry", "flows.render.terminal", "pipelines.running.catalog"]
    code = (
        "import os, logging, importlib\n"
        "before = dict(os.environ), logging.getLogger().level, list(logging.getLogger().handlers)\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "assert before == (dict(os.environ), logging.getLogger().level, list(logging.getLogger().handlers))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_says_where_it_sits(package: str) -> None:
    modules = [path for path in MODULES if path.is_relative_to(ROOT / package)]
    assert len(modules) > 5
    assert not [_name(path) for path in modules if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]


def test_no_flow_file_is_named_like_a_library() -> None:
    # Prefect may load a flow file as a script: its folder is then first on sys.path and hides the library
    libraries = set(sys.stdlib_module_names) | set(importlib.metadata.packages_distributions())
    libraries |= {"evaluate", "datasets", "accelerate", "tokenizers"}
    assert "prefect" in libraries
    assert not {path.stem for path in (ROOT / "flows").glob("*.py")} - {"__init__"} & libraries


def test_no_trained_model_is_a_dependency() -> None:
    project = PYPROJECT["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    wanted += (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert len(wanted) > 30
    assert not [one for one in wanted if re.match(r"en[-_]\w+[-_](sm|md|lg|scibert|trf)|en[-_]core", one, re.I)]
    assert not [one for one in wanted if "@" in one or "git+" in one], "a dependency outside the registry"


def test_nothing_is_loaded_that_can_run_code() -> None:
    found = {_name(path): list(unsafe_loads(path.read_text("utf-8"))) for path in MODULES}
    # one package of weights holds an old pickle: it is read weights-only, and a test holds that it runs no code
    assert {name: calls for name, calls in found.items() if calls} == {
        "trrg_core/weights/efficientnet_lite.py": ["torch.load"]
    }
    source = (ROOT / "trrg_core/weights/efficientnet_lite.py").read_text("utf-8")
    assert source.count("torch.load(") == source.count("weights_only=True") == 1


@pytest.mark.parametrize(
    "source",
    [
        "import pickle; pickle.load(f)",
        "pickle.loads(b)",
        "torch.load(p)",
        f"torch.load(p, weights_only={False})",
        f"load(p, weights_only={False})",
        "np.load(p, allow_pickle=True)",
        "AutoModel.from_pretrained(p, trust_remote_code=True)",
        "from pickle import loads",
        "joblib.load(p)",
    ],
)
def test_the_search_for_unsafe_loads_finds_them(source: str) -> None:
    assert list(unsafe_loads(source))


def test_the_search_for_unsafe_loads_leaves_safe_ones() -> None:
    assert not list(unsafe_loads("json.load(f); load_file(p); np.load(p, allow_pickle=False); yaml.safe_load(t)"))
