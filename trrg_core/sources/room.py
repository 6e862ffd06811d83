"""Is there room for what is about to be kept? Asked before hours of decoding, not after."""

from collections.abc import Sequence

from trrg_core.config.settings import IngestConfig
from trrg_core.errors import StorageError
from trrg_core.storage.store import Store
from trrg_core.study import Study

# half a bit a pixel: a grey radiograph at quality 90 takes one to two, so who fails here would surely run out
_PIXELS_PER_BYTE = 16


def check_room(store: Store, config: IngestConfig, studies: Sequence[Study]) -> None:
    """Stop when the kept images of `studies` cannot fit, at the very least.

    Raises:
        StorageError: naming the place, what is needed and what is there.
    """
    free = store.free_bytes()
    needed = sum(len(study.images) for study in studies) * config.max_side_px**2 // _PIXELS_PER_BYTE
    if free is not None and needed > free:
        raise StorageError(
            f"{store.uri}: {len(studies)} studies need at least {needed / 1e9:.1f} GB (ingest.max_side_px "
            f"{config.max_side_px}), free are {free / 1e9:.1f} GB"
        )
