"""How the images of a version of `shards` usually look, from a part of them."""

from collections.abc import Iterator

from pipelines.ray_data.training_rows import list_row_groups, read_groups
from trrg_core.imaging.usual_images import Floats, UsualImages, learn_usual_images, thumbnail_of
from trrg_core.storage.store import Store
from trrg_core.tables.table_ref import TableRef

_MOST_STUDIES = 1_500  # of each split


def learn_from_shards(store: Store, shards: TableRef) -> UsualImages | None:
    """What the images of `train` have in common, with limits from `validate`; None where there are too few."""
    return learn_usual_images(_thumbnails(store, shards, "train"), _thumbnails(store, shards, "validate"))


def _thumbnails(store: Store, shards: TableRef, split: str) -> Iterator[Floats]:
    """A thumbnail of every image in row groups with about 1,500 studies, evenly spaced over the split."""
    groups = [group for group in list_row_groups(store, shards, split) if group.num_rows]
    step = max(1, sum(group.num_rows for group in groups) // _MOST_STUDIES)
    for group in groups[::step]:
        for row in read_groups(store, [group]).select(["views"]).to_pylist():
            yield from (thumbnail_of(view["jpeg"]) for view in row["views"])
