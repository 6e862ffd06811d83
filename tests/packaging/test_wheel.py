import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("trrg_core", "pipelines", "flows")


def _names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_top_level_names_are_ours_alone(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in _names(wheel)}
    (info,) = [top for top in tops if top.endswith(".dist-info")]
    assert info.startswith("trrg-")
    assert tops == {*PACKAGES, info}


def test_every_module_and_data_file_is_inside(wheel: Path) -> None:
    wanted = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for suffix in ("py", "yaml", "html", "css", "typed")
        for path in (ROOT / package).rglob(f"*.{suffix}")
        if "__pycache__" not in path.parts
    }
    assert {"trrg_core/config/presets/tiny.yaml", "trrg_core/report/rules/label_sets/chexpert14.yaml"} <= wanted
    assert any(name.endswith(".html") for name in wanted)
    assert wanted <= set(_names(wheel))


def test_there_is_no_other_kind_of_file_that_the_wheel_would_lose(wheel: Path) -> None:
    packed = set(_names(wheel))
    lost = [
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.relative_to(ROOT).as_posix() not in packed
    ]
    assert not lost


def test_the_licence_and_the_command_are_inside(wheel: Path) -> None:
    names = _names(wheel)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    with zipfile.ZipFile(wheel) as archive:
        (entry,) = [name for name in names if name.endswith("entry_points.txt")]
        assert "trrg = flows.cli:main" in archive.read(entry).decode()


def test_what_was_packed_works_away_from_the_tree(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import sys, trrg_core\n"
        f"sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        "del sys.modules['trrg_core']\n"
        "import trrg_core\n"
        f"assert trrg_core.__file__.startswith({str(tmp_path)!r}), trrg_core.__file__\n"
        "from trrg_core.config.load import load_config\n"
        "from trrg_core.config.values import PRESETS\n"
        "from trrg_core.labels import Label\n"
        "from trrg_core.report.parser import ReportParser\n"
        "[load_config(preset) for preset in PRESETS]\n"
        "assert ReportParser().parse('There is pulmonary edema.').labels['Edema'] is Label.POSITIVE\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
