"""Write the bill of materials of the wheel as CycloneDX 1.6: every package of constraints.txt with its hashes.

`python infra/setup/sbom.py build/trrg.cdx.json`; run by `make sbom`. It reads the lock and no environment, so that the
same lock gives the same bill.
"""

import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"^(?P<name>[A-Za-z0-9][\w.-]*)==(?P<version>[^\s;\\]+)(?: ; (?P<marker>[^\\\n]+))?", re.MULTILINE)
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def build_bill(root: Path) -> dict[str, Any]:
    """The bill of the project in folder `root`."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    lock = (root / "constraints.txt").read_text("utf-8")
    entries = [text for text in re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE) if PIN.match(text)]
    torch = [text for text in (root / "infra/setup/torch.txt").read_text("utf-8").splitlines() if PIN.match(text)]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": f"pkg:pypi/{project['name']}@{project['version']}",
                "name": project["name"],
                "version": project["version"],
                "purl": f"pkg:pypi/{project['name']}@{project['version']}",
                "licenses": [{"license": {"id": project["license"]}}],
            }
        },
        "components": [_component(text) for text in sorted([*entries, *torch], key=str.lower)],
    }


def _component(entry: str) -> dict[str, Any]:
    pin = PIN.match(entry)
    assert pin is not None, f"not a pinned package: {entry[:80]!r}"
    name = re.sub("[-_.]+", "-", pin["name"]).lower()
    address = f"pkg:pypi/{name}@{pin['version']}"
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": address,
        "name": name,
        "version": pin["version"],
        "purl": address,
    }
    if pin["marker"]:
        component["properties"] = [{"name": "trrg:marker", "value": pin["marker"].strip()}]
    hashes = [{"alg": "SHA-256", "content": content} for content in HASH.findall(entry)]
    if hashes:  # of all files of the release: wheels for each machine, and the source
        files = {"type": "distribution", "url": f"https://pypi.org/project/{name}/{pin['version']}/", "hashes": hashes}
        component["externalReferences"] = [files]
    return component


def main() -> None:
    """Write the bill to the file that is named."""
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(build_bill(ROOT), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
