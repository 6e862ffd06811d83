"""Does the model look at the image? Its reports must get worse when the image is changed, and differ without one."""

import math
from collections.abc import Iterator, Mapping

from trrg_core.config.gate_settings import GateConfig
from trrg_core.metrics.image_use import image_losses
from trrg_core.metrics.outcomes import OutcomeTable
from trrg_core.metrics.systems import CHANGED_IMAGES, IMAGE_REMOVED_SHARE
from trrg_core.registry.check import Bound, Check, Verdict, check_estimate, check_number


def check_images(
    table: OutcomeTable | None, rates: Mapping[str, float | None], config: GateConfig, *, score_name: str, seed: int
) -> Iterator[Check]:
    """The checks with changed images; without outcomes the evidence is insufficient.

    Args:
        table: outcomes with the own and with changed images; None where they were not made.
        rates: measures of the model by name, `image.removed_share` among them.
        config: the bounds.
        score_name: name of the micro-F1 that is compared.
        seed: of the resamples.
    """
    yield check_number(
        "evidence.image_studies",
        len(table.study_ids) if table else 0,
        Bound(relation=">=", value=config.min_image_studies, setting="register.min_image_studies"),
        "the number of studies written with changed images (evaluate.image_studies)",
        otherwise=Verdict.INSUFFICIENT,
    )
    if table is None:
        return
    losses = image_losses(table, num_samples=config.bootstrap_samples, seed=seed, confidence=config.confidence)
    bound = Bound(relation=">", value=config.min_image_gain, setting="register.min_image_gain")
    for system in CHANGED_IMAGES:
        if system not in losses:
            reason = f"{system}: no study could be shown it; needed {bound}"
            yield Check(name=f"image.{system.key}", verdict=Verdict.INSUFFICIENT, reason=reason, bound=bound)
            continue
        shown = f"an{system}" if system.startswith("other") else f"a {system}"  # another image
        words = f"the loss of {score_name} with {shown} in place of the own one"
        yield check_estimate(f"image.{system.key}", losses[system].loss, bound, words)
    removed = rates.get(IMAGE_REMOVED_SHARE)
    yield check_number(
        IMAGE_REMOVED_SHARE,
        math.nan if removed is None else removed,
        Bound(relation="<=", value=config.max_image_removed_share, setting="register.max_image_removed_share"),
        "the share of reports that stay the same without an image",
    )
