"""`infra/bench/gpu.py contrastive` as a script, with torch, transformers and what these two require alone."""

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import infra.bench
from trrg_core.config.load import load_config

SCRIPT = Path(infra.bench.__path__[0]) / "gpu.py"
# runs the script as Python does, behind a finder that hides packages and the installed project; prints the settings
RUN = """
import json, sys
script, hidden = sys.argv[1], set(json.loads(sys.argv[2]))
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder
class Visible:
    find_distributions = PathFinder.find_distributions
    @staticmethod
    def find_spec(name, path=None, target=None):
        return None if name.partition(".")[0] in hidden else PathFinder.find_spec(name, path, target)
sys.meta_path[:] = [BuiltinImporter, FrozenImporter, Visible]
import os.path, runpy
sys.path[0] = os.path.dirname(script)
sys.argv = [script, "contrastive", "--tiny", "--batch-size", "16", "--steps", "1", "--device", "cpu"]
try:
    runpy.run_path(script, run_name="__main__")
except SystemExit as ended:
    print("exit", ended.code)
from trrg_core.config.load import load_config
def plain(value):
    return {name: plain(item) for name, item in value} if hasattr(value, "model_validate") else value
print(json.dumps({name: plain(load_config(name)) for name in ("tiny", "base")}))
"""


def required(*names: str) -> set[str]:
    """The distributions that these require, and they themselves, without extras."""
    found: set[str] = set()
    pending = list(names)
    while pending:
        name = re.sub(r"[-_.]+", "-", pending.pop()).lower()
        if name in found:
            continue
        try:
            requirements = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        found.add(name)
        pending += [
            re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in requirements if not re.search("extra *==", text)
        ]
    return found


def test_stage_1_is_measured_with_torch_and_transformers_alone(tmp_path: Path) -> None:
    kept = required("torch", "transformers")
    hidden = {
        package
        for package, distributions in metadata.packages_distributions().items()
        if not any(re.sub(r"[-_.]+", "-", name).lower() in kept for name in distributions)
    } | {"pydantic", "pydantic_core"}  # which only recent versions of typer require
    hidden -= {"infra", "trrg_core"}
    assert {"PIL", "scipy", "ahocorasick", "pyarrow"} <= hidden
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(SCRIPT), json.dumps(sorted(hidden))],
        cwd=tmp_path,
        env={"PATH": "", "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert "exit 0" in done.stdout, done.stderr[-2000:]
    assert re.search(r"^pairs +16 +16 .*\nstage 1 +2 +4 ", done.stdout, re.MULTILINE)
    # what stands in for pydantic reads the same values
    found = json.loads(done.stdout.splitlines()[-1])
    for preset, values in found.items():
        real = load_config(preset).model_dump(mode="json", by_alias=False)
        for section in ("seed", "pretrain", "engine", "parse"):
            assert values[section] == real[section]


def test_without_a_bench_or_a_gpu_it_says_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout[:6]) == (0, "usage:")
    assert "contrastive" in done.stdout
