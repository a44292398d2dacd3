"""Scores of runs on held-out images: every image, and the mean with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bundle.report.style import FULL, INK, Numbers, new_figure, run_looks, run_order, run_title, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@styled
def score_plot(values: Mapping[str, Numbers], intervals: Mapping[str, tuple[float, float, float]]) -> Figure:
    """Dice of every image as a strip, and beside it the mean with its interval; a row a run, the best mean on top.

    Args:
        values: run's name to the Dice of its images (n,), 0 to 1. The bar is the median, the box the quartiles.
        intervals: run's name to (mean, low, high). Runs may be absent from either.
    """
    names = run_order({**values, **intervals})
    looks = run_looks(names)
    means = {name: intervals[name][0] if name in intervals else float(np.mean(values[name])) for name in names}
    names.sort(key=lambda name: means[name])
    figure, (left, right) = new_figure(2, width=FULL, height=1.0 + 0.45 * len(names))
    for place, name in enumerate(names):
        colour, dash = looks[name]
        if name in values:
            _strip(left, np.sort(np.asarray(values[name], dtype=float)), place, colour)
        if name in intervals:
            mean, low, high = intervals[name]
            right.plot([low, high], [place, place], color=colour, linewidth=2.4, solid_capstyle="round")
            # A hollow dot where curves of the run are dashed.
            face = colour if dash == "-" else "white"
            right.plot([mean], [place], "o", color=colour, markerfacecolor=face, markersize=8, markeredgewidth=2)
            label = right.annotate(f"{mean:.3f}", (mean, place), xytext=(0, 8), textcoords="offset points")
            label.set(ha="center", fontsize=8.5)
    shown = {name: run_title(name).replace("$", r"\$") for name in names}  # a name is no formula, whatever it holds
    titles = [shown[name] + (f"\nn = {len(values[name])}" if name in values else "") for name in names]
    for panel in (left, right):
        panel.set_yticks(range(len(names)), titles)
        panel.set_ylim(-0.6, len(names) - 0.35)
        panel.grid(axis="y", visible=False)
    right.set_yticklabels([])
    right.margins(x=0.12)
    left.set_xlim(-0.02, 1.02)
    left.set(title="Every image", xlabel="Dice")
    right.set(title="Mean with interval", xlabel="mean Dice of the images")
    return figure


def _strip(panel: Axes, values: np.ndarray, place: float, colour: str) -> None:
    from matplotlib.patches import Rectangle

    # Steps of the golden ratio spread neighbours evenly: a jitter that needs no chance.
    jitter = (np.arange(len(values)) * 0.6180339887 % 1.0 - 0.5) * 0.56
    panel.scatter(values, place + jitter, s=7, color=colour, alpha=0.45, linewidths=0, rasterized=True)
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    panel.add_patch(Rectangle((low, place - 0.32), high - low, 0.64, fill=False, edgecolor=INK, linewidth=0.8))
    panel.plot([middle, middle], [place - 0.32, place + 0.32], color=INK, linewidth=2)
