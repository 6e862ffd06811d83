"""The losses of a training run as a picture: one panel per part, over the optimizer steps."""

import math
from collections.abc import Mapping, Sequence
from io import BytesIO

_COLUMNS = 3
_WINDOW = 50  # about as many points of the smoothed line, so that a trend shows through the noise of single steps


def draw_losses(losses: Sequence[Mapping[str, float]], *, title: str) -> bytes:
    """An SVG file of the losses of each step, by part; grey for single steps, blue for running means.

    A value that is not finite leaves a gap. A part that is not measured at every step has only its own points.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for step in losses for name in step))
    columns = min(_COLUMNS, max(1, len(names)))
    rows = max(1, math.ceil(len(names) / columns))
    figure = Figure(figsize=(3.4 * columns, 0.5 + 2.2 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, name in zip(axes, names, strict=False):
        steps = [at for at, step in enumerate(losses, 1) if name in step]
        values = [step[name] for step in losses if name in step]
        axis.plot(steps, values, color="#bbbbbb", linewidth=0.8)
        axis.plot(steps, running_mean(values, max(1, len(values) // _WINDOW)), color="#0072b2", linewidth=1.4)
        axis.set_title(name, fontsize=9, loc="left")
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[len(names) :]:
        axis.set_axis_off()
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    picture = BytesIO()
    with rc_context({"svg.hashsalt": "trrg"}):  # the same losses give the same bytes
        FigureCanvasSVG(figure).print_svg(picture, metadata={"Date": None})
    return picture.getvalue()


def running_mean(values: Sequence[float], size: int) -> list[float]:
    """The mean of each value and the `size` - 1 before it; of fewer at the start, and without those not finite."""
    means = []
    for end in range(1, len(values) + 1):
        finite = [value for value in values[max(0, end - size) : end] if math.isfinite(value)]
        means.append(sum(finite) / len(finite) if finite else math.nan)
    return means
