"""`source.image_folder` -> where the images of a source are: in its root, a folder of it, or a second root."""

from dataclasses import dataclass

from trrg_core.config.settings import SourceConfig
from trrg_core.errors import ConfigError, DataError
from trrg_core.storage.store import Store, open_store, relative_path


@dataclass(frozen=True, kw_only=True)
class ImageRoot:
    """The store that paths of images are relative to, and the folder that they start with; empty for none."""

    store: Store
    folder: str = ""

    def path(self, name: str) -> str:
        """The path of an image in `store`; `name` is relative to the folder."""
        return f"{self.folder}/{name}" if self.folder else name


def find_image_root(store: Store, config: SourceConfig) -> ImageRoot:
    """Where the images of a source with its root in `store` are.

    Raises:
        ConfigError: if `source.image_folder` leaves the root by `..`, or is a second root that does not exist.
    """
    folder = config.image_folder
    if is_second_root(folder):
        images = open_store(folder)
        if not images.exists():
            raise ConfigError(f"source.image_folder {folder!r}: no such folder or prefix")
        return ImageRoot(store=images)
    try:
        return ImageRoot(store=store, folder=relative_path(folder))
    except DataError as error:
        raise ConfigError(
            f"source.image_folder {folder!r} leads out of source.root: give the absolute path or s3:// prefix of the "
            "images, which is then a second root"
        ) from error


def is_second_root(folder: str) -> bool:
    """Whether `source.image_folder` is a root of its own."""
    return folder.startswith(("/", "s3://"))
