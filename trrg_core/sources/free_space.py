"""Whether the store has enough free space for the images, checked before hours of decoding and not after."""

from collections.abc import Sequence

from trrg_core.config.settings import IngestConfig
from trrg_core.errors import StorageError
from trrg_core.storage.local_disk import size_text
from trrg_core.storage.store import Store
from trrg_core.study import Study

# 0.5 bits per pixel, a lower bound: a grey radiograph of JPEG quality 90 takes 1 to 2 bits per pixel
_PIXELS_PER_BYTE = 16


def check_free_space(store: Store, config: IngestConfig, studies: Sequence[Study]) -> None:
    """Check that the stored images of `studies` can fit, by a lower bound of their size.

    Raises:
        StorageError: with the store, the required and the free space.
    """
    free = store.free_bytes()
    needed = sum(len(study.images) for study in studies) * config.max_side_px**2 // _PIXELS_PER_BYTE
    if free is not None and needed > free:
        raise StorageError(
            f"{store.uri}: {len(studies)} studies need at least {size_text(needed)} (ingest.max_side_px "
            f"{config.max_side_px}), but only {size_text(free)} are free: free some, or name a store on another disk"
        )
