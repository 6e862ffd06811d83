"""The pages of the site are read without a warning, and a broken link is one."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

pytest.importorskip("sphinx")
# every page is read and every reference resolved, but no page is written, which would take as long again
BUILD = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "dummy"]


@pytest.mark.parametrize("link", ["(missing.md)", "(index.md#missing)", "(#missing)"])
def test_a_broken_link_fails_the_build(tmp_path: Path, link: str) -> None:
    (tmp_path / "index.md").write_text(f"# Title\n\n[link]{link}\n")
    settings = ["-C", "-D", "extensions=myst_parser", "-D", "myst_heading_anchors=4"]
    done = subprocess.run(
        [*BUILD, *settings, str(tmp_path), str(tmp_path / "out")], capture_output=True, text=True, timeout=120
    )
    assert done.returncode != 0
    assert "missing" in done.stderr


@pytest.mark.slow
def test_the_site_is_read_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [*BUILD, "docs", str(tmp_path / "out")], cwd=ROOT, capture_output=True, text=True, timeout=550
    )
    assert done.returncode == 0, done.stderr[-4000:]
    read = {path.stem for path in (tmp_path / "out" / ".doctrees").glob("*.doctree")}
    assert {"index", "architecture", "tutorial"} <= read
