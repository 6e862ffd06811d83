"""The label counts of a version as a picture: one bar per finding, stacked by assertion, one panel per split."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trrg_core.label_stats.distribution import LabelCount
from trrg_core.labels import Assertion
from trrg_core.storage.given_file import write_given_file

# colour-blind safe (Okabe and Ito, 2008), the colours of `trrg explain`
_COLOURS = {Assertion.PRESENT: "#d55e00", Assertion.UNCERTAIN: "#f0e442", Assertion.ABSENT: "#009e73"}


def draw_counts(counts: Sequence[LabelCount], path: str | Path, *, title: str) -> None:
    """Draw the shares of studies by observation, assertion and split into a PNG file, without any ids."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    splits = [split for split in dict.fromkeys(item.split for item in counts) if _total(counts, split)]
    names = list(dict.fromkeys(item.observation for item in counts))
    figure = Figure(figsize=(2.6 + 3.6 * max(1, len(splits)), 1.4 + 0.32 * len(names)), layout="constrained")
    axes = figure.subplots(1, max(1, len(splits)), sharey=True, squeeze=False)[0]
    for axis, split in zip(axes, splits, strict=False):
        _draw_split(axis, [item for item in counts if item.split == split], names)
        axis.set_title(f"{split}, {_total(counts, split):,} studies", fontsize=10, loc="left")
    figure.suptitle(f"Labels of {title}", fontsize=12, x=0.01, ha="left")
    handles, words = axes[0].get_legend_handles_labels()
    figure.legend(handles, words, loc="outside lower right", ncols=3, frameon=False, fontsize=9)
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream, metadata={"Software": "TRRG"})
    write_given_file(path, stream.getvalue())


def _draw_split(axis: Any, counts: Sequence[LabelCount], names: Sequence[str]) -> None:
    ends = dict.fromkeys(names, 0.0)
    for assertion, colour in _COLOURS.items():
        shares = {item.observation: 100 * item.share for item in counts if item.assertion is assertion}
        widths = [shares.get(name, 0.0) for name in names]
        axis.barh(names, widths, left=[ends[name] for name in names], color=colour, label=assertion.lower(), height=0.7)
        ends = {name: ends[name] + width for name, width in zip(names, widths, strict=True)}
    axis.invert_yaxis()
    axis.set_xlim(0, 100)
    axis.set_xlabel("% of studies", fontsize=9)
    axis.tick_params(labelsize=9)
    axis.spines[["top", "right"]].set_visible(False)


def _total(counts: Sequence[LabelCount], split: str) -> int:
    return max((item.total for item in counts if item.split == split), default=0)
