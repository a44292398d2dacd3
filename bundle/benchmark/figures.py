"""The curves of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bundle.benchmark.arms import Arm
from bundle.benchmark.statistics import bootstrap_interval
from bundle.report.style import CYCLE, DASHES, FULL, INK, MARKERS, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DASH_OF_START = {"all": DASHES[0], "taught": DASHES[1], "none": DASHES[2], "encoder": DASHES[3]}
LEGEND_WIDTH = 150  # letters that a row of the legend has room for


@styled
def budget_curves(arms: Mapping[str, Arm], full: Mapping[str, float]) -> Figure:
    """Dice by number of labels, and the error 1 - Dice beside it: mean over seeds, shaded one standard deviation.

    Args:
        arms: title to arm; arms of one strategy share a colour, those of one start a dash.
        full: start to the mean Dice with all labels, as a line across.
    """
    figure, (left, right) = new_figure(2, width=FULL, height=4.2)
    strategies = list(dict.fromkeys(arm.strategy for arm in arms.values()))
    for title, arm in arms.items():
        colour = CYCLE[strategies.index(arm.strategy) % len(CYCLE)]
        dash = _DASH_OF_START[arm.start]
        figures = arm.figures()
        labels = np.array(list(figures))
        means = np.array([np.mean(list(seeds.values())) for seeds in figures.values()])
        spread = np.array([np.std(list(s.values()), ddof=1) if len(s) > 1 else 0.0 for s in figures.values()])
        most, least = (f(len(seeds) for seeds in figures.values()) for f in (max, min))
        seeds = f"n = {most}" if most == least else f"n = {least} to {most}"
        for panel, values in ((left, means), (right, 1 - means)):
            panel.plot(
                labels, values, color=colour, linestyle=dash, marker="o", markersize=3.5, label=f"{title}, {seeds}"
            )
            panel.fill_between(labels, values - spread, values + spread, color=colour, alpha=0.12, linewidth=0)
    for number, (start, dice) in enumerate(full.items()):
        for panel, value in ((left, dice), (right, 1 - dice)):
            panel.axhline(value, color=INK, linewidth=1, linestyle=(0, (1, 2)))
            panel.annotate(
                f"all labels, {start}",
                (1 - 0.3 * number, value),  # beside each other: the lines can lie close
                xycoords=("axes fraction", "data"),
                xytext=(-3, 3),
                textcoords="offset points",
                ha="right",
                fontsize=8,
            )
    for panel in (left, right):
        _label_budgets(panel, sorted({labels for arm in arms.values() for labels in arm.figures()}))
    right.set_yscale("log")
    right.yaxis.set_major_formatter("{x:g}")
    right.yaxis.set_minor_formatter("{x:g}")
    left.set_title("Mean Dice of the test images, by labels")
    right.set_title("The same as error 1 - Dice, logarithmic")
    handles, titles = left.get_legend_handles_labels()
    columns = min(4, LEGEND_WIDTH // (max(map(len, titles), default=1) + 8))  # 8 for the line and the gap
    figure.legend(handles, titles, loc="outside lower center", ncols=max(1, columns))
    return figure


@styled
def chance_differences(pairs: Mapping[str, tuple[Arm, Arm]], budgets: Sequence[int]) -> Figure:
    """Points of Dice over random draws at every budget, with 95 % paired bootstrap intervals.

    Args:
        pairs: title to the arm and the random draws beside it.
        budgets: numbers of labels.
    """
    figure, (panel,) = new_figure(width=FULL, height=4.2)
    panel.axhline(0, color=INK, linewidth=1)
    for number, (title, (arm, chance)) in enumerate(pairs.items()):
        a, b = arm.figures(), chance.figures()
        shift = 2 ** (0.05 * (number - (len(pairs) - 1) / 2))  # beside each other on a logarithmic axis
        points = [
            (labels * shift, bootstrap_interval([100 * (a[labels][seed] - b[labels][seed]) for seed in shared]))
            for labels in budgets
            if (shared := sorted(a.get(labels, {}).keys() & b.get(labels, {}).keys()))
        ]
        if not points:
            continue
        colour, marker = CYCLE[number % len(CYCLE)], MARKERS[number // len(CYCLE) % len(MARKERS)]
        places, found = zip(*points, strict=True)
        panel.plot(places, [f.mean for f in found], color=colour, marker=marker, markersize=4.5, label=title)
        panel.vlines(places, [f.low for f in found], [f.high for f in found], color=colour, linewidth=1.2)
    _label_budgets(panel, budgets)
    panel.set_ylabel("points of Dice")
    panel.set_title("Every strategy against random draws of its own start")
    figure.legend(*panel.get_legend_handles_labels(), loc="outside right upper")
    return figure


def _label_budgets(panel: Axes, budgets: Sequence[int]) -> None:
    panel.set_xscale("log", base=2)
    panel.set_xticks(budgets, [str(labels) for labels in budgets])
    panel.set_xlabel("labels")
