"""Rows of `shards` or encoded films and a loaded generator -> heat maps of findings.

B studies, N patches, O observations, H W rows and columns of a view's patches.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from trrg_core.generation.decoding import encode_studies
from trrg_core.generation.heat_map import HeatMap
from trrg_core.model.encoders import ImageFeatures
from trrg_core.model.model_folder import LoadedGenerator
from trrg_core.training.collate import collate_images
from trrg_core.training.views import choose_views

_IMAGES_AT_ONCE = 32


@torch.no_grad()
def read_heat_maps(
    loaded: LoadedGenerator, features: ImageFeatures, findings: Sequence[Sequence[str]]
) -> list[tuple[HeatMap, ...]]:
    """The heat maps of each study, in the order of its `findings`, with one view per place of the features.

    A finding of which the model has no clue is left out.
    """
    heat_BON = loaded.generator.perception.heat_map(features).float().cpu().numpy()
    order = {name: index for index, name in enumerate(loaded.observations)}
    return [
        tuple(
            HeatMap(finding=name, values_VHW=heat_ON[order[name]].reshape(-1, *features.grid_hw))
            for name in of_study
            if name in order
        )
        for heat_ON, of_study in zip(heat_BON, findings, strict=True)
    ]


def map_studies(
    loaded: LoadedGenerator, rows: Sequence[Mapping[str, Any]], findings: Sequence[Sequence[str]]
) -> list[tuple[HeatMap, ...]]:
    """The heat maps of the `findings` of each row of `shards`, of the views that the model reads, in its order.

    The models are put into eval mode.
    """
    device = next(loaded.generator.parameters()).device
    config = loaded.config.pretrain
    mapped: list[tuple[HeatMap, ...]] = []
    for at in range(0, len(rows), _IMAGES_AT_ONCE):
        group = rows[at : at + _IMAGES_AT_ONCE]
        batch = collate_images(group, observations=loaded.observations, config=config).to(device)
        heat = read_heat_maps(loaded, encode_studies(loaded.generator, batch), findings[at : at + _IMAGES_AT_ONCE])
        mapped += [
            cut_to_views(maps, len(choose_views(row["views"], num_views=config.max_views)))
            for row, maps in zip(group, heat, strict=True)
        ]
    return mapped


def cut_to_views(heat_maps: Sequence[HeatMap], num_views: int) -> tuple[HeatMap, ...]:
    """`heat_maps` without the places of views that a study does not have; none of a study without views."""
    return (
        ()
        if not num_views
        else tuple(HeatMap(finding=one.finding, values_VHW=one.values_VHW[:num_views]) for one in heat_maps)
    )
