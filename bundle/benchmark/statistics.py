"""What many runs say together. The unit is the seed, never the image; runs of one seed are paired."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from bundle.run.seeds import numpy_stream

DRAWS = 10_000  # of a bootstrap: the ends of a 95 % interval then have a standard error of .7 % of its width
LARGEST_FAMILY = 5  # tests corrected together; with more, ten seeds can show little


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean and its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Crossing:
    """How many labels a target takes.

    Attributes:
        labels: where the curve reaches the target, between two budgets interpolated on the logarithm; None where no
            budget reaches it.
        bound: the smallest budget where that one reaches it already, so that fewer may do; the largest where none does.
            None where the answer lies between.
    """

    labels: float | None
    bound: int | None

    def __str__(self) -> str:
        if self.labels is None:
            return f"not reached with {self.bound}"
        return f"{self.bound} or fewer" if self.bound is not None else f"{self.labels:.0f}"


def area_under_budget_curve(dice: Mapping[int, float]) -> float:
    """Area under the curve of Dice over log2 of the labels, by trapezoids, divided by the width: 0..1 as the Dice is.

    Args:
        dice: labels to Dice, two budgets or more.

    Raises:
        ValueError: fewer than two budgets.
    """
    if len(dice) < 2:
        raise ValueError(f"an area needs two budgets at least, got {sorted(dice)}")
    budgets = sorted(dice)
    places, heights = np.log2(budgets), np.array([dice[budget] for budget in budgets])
    area = (np.diff(places) * (heights[1:] + heights[:-1]) / 2).sum()  # numpy 1.26 and 2 name it differently
    return float(area / (places[-1] - places[0]))


def bootstrap_interval(values: Sequence[float], *, seed: int = 0) -> Interval:
    """Mean and 95 % percentile interval when the values, one a seed, are drawn again with replacement.

    Of differences of paired runs it is the paired bootstrap. One value has no interval: both ends are NaN. Few values
    are drawn again with too little spread, so that the interval is too narrow: of normal values it holds the true mean
    in 83 % of cases with 5, 90 % with 10 and 93 % with 24. A test of a difference is :func:`signed_rank_p`.
    """
    found = np.asarray(values, dtype=float)
    if len(found) < 2:
        return Interval(float(found.mean()), math.nan, math.nan)
    draws = numpy_stream(seed, "bootstrap", len(found)).integers(len(found), size=(DRAWS, len(found)))
    low, high = np.percentile(found[draws].mean(axis=1), [2.5, 97.5])
    return Interval(float(found.mean()), float(low), float(high))


def signed_rank_p(differences: Sequence[float]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test; exact for up to 50 differences without ties. All zero: 1.

    With n differences the smallest there can be is 2 / 2**n: .0625 for 5, .002 for 10. Differences that are equal but
    for the last bits of a subtraction are ties.
    """
    from scipy.stats import wilcoxon

    found = np.round(np.asarray(differences, dtype=float), 12)  # scores are 1 at most, with errors of 1e-16
    if not found.any():
        return 1.0
    return float(wilcoxon(found).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for a family of tests (Holm, Scandinavian Journal of Statistics 1979), in the order given.

    Raises:
        ValueError: more than ``LARGEST_FAMILY`` tests.
    """
    if len(p_values) > LARGEST_FAMILY:
        raise ValueError(f"a family has at most {LARGEST_FAMILY} comparisons, got {len(p_values)}")
    corrected = [0.0] * len(p_values)
    reached = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        reached = max(reached, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = reached
    return corrected


def percentile_within(values: Sequence[float], draws: Sequence[float]) -> float:
    """Share of random draws that one of ``values`` beats on average, 0 to 100; a draw that equals it counts half.

    It is taken of each value, since the mean of draws that are skewed does not lie at 50 among them.
    """
    found, drawn = np.asarray(values, dtype=float)[:, None], np.asarray(draws, dtype=float)
    return float(100 * ((drawn < found).mean() + 0.5 * (drawn == found).mean()))


def labels_to_reach(target: float, dice: Mapping[int, float]) -> Crossing:
    """The labels at which a curve first reaches ``target``, interpolated between budgets on log2 of the labels.

    Args:
        target: Dice.
        dice: labels to mean Dice, one budget at least.
    """
    budgets = sorted(dice)
    reached = next((budget for budget in budgets if dice[budget] >= target), None)
    if reached is None:
        return Crossing(None, budgets[-1])
    if reached == budgets[0]:
        return Crossing(float(reached), reached)
    before = budgets[budgets.index(reached) - 1]
    share = (target - dice[before]) / (dice[reached] - dice[before])
    return Crossing(2 ** (math.log2(before) + share * math.log2(reached / before)), None)


def error_cut(dice: float, reference: float) -> float:
    """By which share the error 1 - Dice of ``reference`` is cut; negative where it grows, 0 where there is none."""
    return (dice - reference) / (1 - reference) if reference < 1 else 0.0
