"""Curves over epochs, steps and policies: what happened while the networks learned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bundle.report.style import (
    BLUE,
    CYCLE,
    DASHES,
    FAINT,
    FULL,
    INK,
    LARGE,
    MARKERS,
    MUTED,
    ORANGE,
    Numbers,
    new_figure,
    run_looks,
    run_title,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS_A_ROW = 3  # with more, their titles run into each other
SMOOTH_ABOVE = 60  # points; a longer loss curve is too ragged to compare by eye without its running mean


@styled
def pretraining_curves(steps: Numbers, terms: Mapping[str, Numbers]) -> Figure:
    """One panel for each term of the pretraining, since their units differ.

    Args:
        steps: (n,) how many there were.
        terms: title of the panel, with its unit, to (n,) values; NaN where there is none.
    """
    columns = min(PANELS_A_ROW, len(terms))
    rows = math.ceil(len(terms) / columns)
    figure, panels = new_figure(columns, rows=rows, width=FULL * min(1.0, columns / PANELS_A_ROW), height=2.6 * rows)
    for panel in panels[len(terms) :]:
        panel.set_visible(False)
    for panel, (title, values) in zip(panels, terms.items(), strict=False):
        known = np.isfinite(values)
        panel.plot(
            np.asarray(steps)[known], np.asarray(values)[known], color=BLUE, marker="o" if len(steps) < 4 else ""
        )
        panel.set(title=title, xlabel="step")
        panel.locator_params(axis="x", integer=True)
    return figure


@styled
def policy_scores(
    names: Sequence[str],
    losses: Numbers,
    retrieval: Numbers,
    *,
    chosen: str | None = None,
    floor: float | None = None,
) -> Figure:
    """The candidate augmentations, hardest on top: contrastive loss, and how often a view still finds its own image.

    Args:
        names: (n,) of the policies.
        losses: (n,) contrastive loss under each, in nats (Jin et al. 2022, equation 7, takes the largest).
        retrieval: (n,) share of the views whose nearest neighbour is the other view of the same image, 0 to 1.
        chosen: the policy taken; it is drawn in full colour.
        floor: smallest retrieval rate at which a policy may be taken.
    """
    order = np.argsort(np.asarray(losses), kind="stable")
    rows = np.arange(len(order))
    colours = [BLUE if names[i] == chosen else FAINT for i in order]
    figure, (left, right) = new_figure(2, width=FULL, height=0.9 + 0.3 * len(order))
    for panel, values, digits in ((left, losses, 2), (right, retrieval, 2)):
        widths = np.asarray(values, dtype=float)[order]
        panel.barh(rows, widths, color=colours, height=0.62)
        for row, value in zip(rows, widths, strict=True):
            panel.annotate(
                f"{value:.{digits}f}", (value, row), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8
            )
        panel.set_yticks(rows, [names[i] for i in order])
        panel.grid(axis="y", visible=False)
        panel.margins(x=0.12)
        for label, i in zip(panel.get_yticklabels(), order, strict=True):
            label.set_fontweight("bold" if names[i] == chosen else "normal")
    right.set_yticklabels([])
    left.set(title="How hard", xlabel="contrastive loss (nats)")
    right.set(title="Still recognisable", xlabel="retrieval rate", xlim=(0, 1.12))
    if floor is not None:
        right.axvline(floor, color=INK, linestyle=(0, (3, 2)), linewidth=1)
        right.annotate(
            f"floor {floor:g}", (floor, len(order) - 0.45), xytext=(3, 1), textcoords="offset points", fontsize=8
        )
    return figure


@styled
def learning_curves(histories: Mapping[str, Mapping[str, Numbers]]) -> Figure:
    """Training loss and, where a run has any, validation Dice of every run by optimiser step.

    Args:
        histories: run's name to its columns ``step``, ``loss`` and ``val_dice``, each (n,), NaN where a step has none.
    """
    validated = any(np.isfinite(columns.get("val_dice", [np.nan])).any() for columns in histories.values())
    figure, panels = new_figure(1 + validated, width=FULL, height=3.3)
    left = panels[0]
    smoothed = False
    for name, (colour, dash) in run_looks(list(histories)).items():
        steps = np.asarray(histories[name]["step"], dtype=float)
        for panel, column in zip(panels, ("loss", "val_dice"), strict=False):
            values = np.asarray(histories[name].get(column, np.full(len(steps), np.nan)), dtype=float)
            known = np.isfinite(values)
            x, y = steps[known], values[known]
            if column == "loss" and len(y) > SMOOTH_ABOVE:
                panel.plot(x, y, color=colour, alpha=0.15, linewidth=0.8)
                x, y = running_mean(x, len(y) // 20), running_mean(y, len(y) // 20)
                smoothed = True
            marker = "o" if len(y) <= 25 else ""
            panel.plot(x, y, color=colour, linestyle=dash, marker=marker, markersize=3.5, label=run_title(name))
    left.set(title="Training loss" + (", running mean" if smoothed else ""), xlabel="optimiser step", ylabel="loss")
    if validated:
        panels[1].set(title="Validation", xlabel="optimiser step", ylabel="mean Dice of the images")
        panels[1].set_ylim(top=1.0)
    if len(histories) > 1:
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=min(len(histories), 4))
    return figure


@styled
def dice_by_labels(labels: Numbers, dice: Numbers, *, low: Numbers, high: Numbers) -> Figure:
    """Dice after each round against the labels that the expert has given.

    Args:
        labels: (n,) number of labels, ascending.
        dice: (n,) mean Dice, 0 to 1.
        low: (n,) lower end of its interval.
        high: (n,) upper end.
    """
    figure, (panel,) = new_figure(width=FULL, height=3.0)
    panel.fill_between(labels, low, high, color=BLUE, alpha=0.15, linewidth=0)
    panel.plot(labels, dice, color=BLUE, marker="o")
    for x, y in zip(labels, dice, strict=True):
        panel.annotate(f"{y:.3f}", (x, y), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=8.5)
    panel.set(title="Dice by number of labels", xlabel="labels of the expert", ylabel="mean Dice of the images")
    panel.set_xticks(list(labels))
    panel.margins(y=0.15)
    return figure


@styled
def silhouette_curve(
    numbers: Sequence[int], scores: Numbers, *, chosen: int | None = None, least: int | None = None
) -> Figure:
    """Mean silhouette coefficient (-1 to 1) by number of clusters, with the number taken marked.

    Args:
        numbers: (M,) of clusters, ascending.
        scores: (M,) mean silhouettes.
        chosen: the number that was taken.
        least: smallest number that could be taken; what lies below is shaded.
    """
    figure, (panel,) = new_figure()
    if least is not None and least > min(numbers):
        panel.axvspan(min(numbers) - 0.5, least - 0.5, color=FAINT, alpha=0.35, linewidth=0)
    panel.plot(numbers, scores, color=BLUE, marker="o", markersize=3.5)
    if chosen is not None and chosen in list(numbers):
        height = float(scores[list(numbers).index(chosen)])
        panel.plot([chosen], [height], "o", color=ORANGE, markersize=9, markeredgecolor=INK, zorder=3)
        panel.annotate(f"K* = {chosen}", (chosen, height), xytext=(8, 5), textcoords="offset points", fontweight="bold")
    panel.margins(y=0.18)
    panel.locator_params(axis="x", integer=True)
    panel.set(title="How many clusters", xlabel="number of clusters K", ylabel="mean silhouette")
    return figure


@styled
def coverage_curve(
    chosen: Numbers, *, random: Mapping[str, Numbers], asked: int, pool: int, knee: int | None = None
) -> Figure:
    """Mean distance of the pool to its nearest chosen image by budget; lower is better.

    The measure is that of :func:`bundle.selection.coverage.coverage_curve`: one image at the very centre would reach 1.

    Args:
        chosen: (M,) after the first 1, 2, ... M images, the selection first and then those that would follow.
        random: ``mean``, ``low`` and ``high`` (M,) of random draws.
        asked: images of the selection; what lies beyond is dashed.
        pool: number of images in the pool.
        knee: the budget after which another label gains little, marked.
    """
    budgets = np.arange(1, len(chosen) + 1)
    marker = "o" if len(budgets) < 4 else ""
    figure, (panel,) = new_figure(height=2.5)
    _draw_random(panel, budgets, random)
    if asked < len(chosen):
        panel.plot(budgets[asked - 1 :], chosen[asked - 1 :], color=BLUE, linestyle=(0, (2, 1.2)), label="further")
        panel.axvline(asked, color=FAINT, linewidth=1, zorder=0)
    panel.plot(budgets[:asked], chosen[:asked], color=BLUE, label=f"the {asked} selected", marker=marker)
    if knee is not None:
        (point,) = panel.plot([knee], [chosen[knee - 1]], "o", color=ORANGE, label=f"knee: {knee} labels")
        point.set(markersize=8, markeredgecolor=INK, zorder=3)
    panel.margins(y=0.15)
    panel.locator_params(axis="x", integer=True)
    panel.legend(loc="upper right")
    panel.set(title=f"Coverage of the pool (n = {pool})", xlabel="labels", ylabel="relative mean distance")
    return figure


@styled
def coverage_comparison(curves: Mapping[str, Numbers], *, random: Mapping[str, Numbers], pool: int) -> Figure:
    """The coverage of several selections by budget, over the range of random draws; lower is better.

    Args:
        curves: strategy to (B,) mean distances, as in :func:`coverage_curve`.
        random: ``mean``, ``low`` and ``high`` (B,) of random draws.
        pool: number of images in the pool.
    """
    budgets = np.arange(1, len(random["mean"]) + 1)
    figure, (panel,) = new_figure(width=LARGE, height=3.6)
    _draw_random(panel, budgets, random)
    for number, (name, values) in enumerate(curves.items()):
        dash = DASHES[number // len(CYCLE) % len(DASHES)]
        marker = "o" if len(budgets) < 4 else ""
        panel.plot(budgets, values, color=CYCLE[number % len(CYCLE)], linestyle=dash, label=name, marker=marker)
    panel.locator_params(axis="x", integer=True)
    figure.legend(*panel.get_legend_handles_labels(), loc="outside right upper")
    panel.set(title=f"Coverage of the pool (n = {pool})", xlabel="labels", ylabel="relative mean distance")
    return figure


@styled
def coverage_against_typicality(points: Mapping[str, tuple[float, float]], random: tuple[Numbers, Numbers]) -> Figure:
    """Every strategy as a point: how typical its images are, how well they cover the pool.

    Args:
        points: strategy to its typicality and its mean distance.
        random: (draws,) the same two of random draws, as crosses.
    """
    figure, (panel,) = new_figure(height=3.6)
    panel.plot(*random, "x", color=MUTED, markersize=5)
    for number, (name, (typicality, distance)) in enumerate(points.items()):
        colour, marker = CYCLE[number % len(CYCLE)], MARKERS[number // len(CYCLE) % len(MARKERS)]
        panel.plot([typicality], [distance], marker, color=colour, markersize=8)
        panel.annotate(name, (typicality, distance), xytext=(6, 4), textcoords="offset points", fontsize=8)
    panel.margins(x=0.25, y=0.2)
    panel.set(title="Coverage and typicality", xlabel="typicality", ylabel="relative mean distance")
    return figure


def _draw_random(panel: Axes, budgets: np.ndarray, random: Mapping[str, Numbers]) -> None:
    panel.fill_between(budgets, random["low"], random["high"], color=FAINT, linewidth=0, label="random, range")
    panel.plot(budgets, random["mean"], color=MUTED, linewidth=1, label="random, mean")


def running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """(n - width + 1,) means of ``width`` neighbours, with no made-up values at the ends."""
    width = max(width, 1)
    sums = np.cumsum(np.concatenate([[0.0], values]))
    return (sums[width:] - sums[:-width]) / width
