"""Write constraints.txt: one version and the hashes of every package that pyproject.toml names, with all its extras.

Versions in constraints.txt stay as they are; `--upgrade` resolves all of them again. PyTorch and the packages that only
its CUDA build needs are left out: install.sh installs the version in torch.txt, as a CPU or a CUDA build, and the two
have different hashes. Run by `make lock`.
"""

import re
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

from packaging.markers import Marker

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "constraints.txt"
TORCH = ROOT / "infra" / "setup" / "torch.txt"
# the oldest Python that every package supports; `[tool.uv] environments` in pyproject.toml sets the newest
OLDEST_PYTHON = "3.11.0"
TARGETS = [
    {
        "python_version": python.rpartition(".")[0],
        "python_full_version": python,
        "platform_machine": machine,
        "platform_system": "Linux",
        "sys_platform": "linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    for python, machine in product((OLDEST_PYTHON, "3.12.0"), ("x86_64", "aarch64"))
]
HEADER = """\
# Tested versions with hashes, for Python 3.11 and 3.12 on Linux. Written by `make lock`; do not edit.
# PyTorch is not in this list: see infra/setup/torch.txt.
"""
PIN = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)==[^ ;]+(?P<marker> ; [^\\\n]+)?")
TORCH_ONLY = re.compile(r"torch|triton|nvidia-.*|cuda-.*")


def resolve(known: list[str]) -> str:
    """The lock that uv resolves from pyproject.toml, with the versions in `known` kept."""
    with tempfile.TemporaryDirectory() as folder:
        kept, resolved = Path(folder) / "known.txt", Path(folder) / "lock.txt"
        kept.write_text("\n".join(known))
        command: list[str | Path] = [Path(sys.executable).parent / "uv", "pip", "compile", "pyproject.toml", "--quiet"]
        command += ["--all-extras", "--universal", "--python-version", OLDEST_PYTHON, "--generate-hashes"]
        command += ["--no-header", "--no-annotate", "--constraint", TORCH, "--constraint", kept]
        subprocess.run([*command, "--output-file", resolved], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        return resolved.read_text()


def entries(lock: str) -> list[str]:
    """The text of each package in a lock, without PyTorch, and without markers that are true on every target."""
    kept = []
    for text in re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE):
        pin = PIN.match(text)
        if pin is None or TORCH_ONLY.fullmatch(pin["name"]):
            continue
        marker = pin["marker"]
        if marker and all(Marker(marker.removeprefix(" ; ")).evaluate(target) for target in TARGETS):
            text = text.replace(marker, " ", 1)
        kept.append(text)
    return kept


def known_versions(lock: str) -> list[str]:
    """`name==version` of each package in a lock."""
    return [pin[0].partition(" ")[0] for line in lock.splitlines() if (pin := PIN.match(line))]


def main() -> None:
    """Write the lock file."""
    known = [] if "--upgrade" in sys.argv else known_versions(LOCK.read_text())
    LOCK.write_text(HEADER + "".join(entries(resolve(known))))


if __name__ == "__main__":
    main()
