"""Two arms beside each other, seed by seed, and named families of such comparisons."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from bundle.benchmark.arms import Setup
from bundle.benchmark.paired import PairedDifference, paired_difference
from bundle.benchmark.statistics import (
    LARGEST_FAMILY,
    Interval,
    bootstrap_interval,
    error_cut,
    holm,
    signed_rank_p,
)

# The 2 x 2 of warm start and selection: its four edges, and both gains together.
HEADLINE = (
    "all/coldstart vs none/random",
    "all/coldstart vs all/random",
    "none/coldstart vs none/random",
    "all/random vs none/random",
    "all/coldstart vs none/coldstart",
)
_VERSUS = " vs "


@dataclasses.dataclass(frozen=True)
class AreaDifference:
    """The area under the budget curve of arm A minus that of arm B.

    Attributes:
        a: title of arm A.
        b: title of arm B.
        mean_a: its mean area over the shared seeds.
        mean_b: likewise.
        paired: the difference seed by seed.
        interval: of the mean difference.
        error_cut: share of B's error (1 - area) that A saves.
        p: of Wilcoxon's signed-rank test, not corrected.
        corrected: after Holm over the family; None where the comparison is in none.
    """

    a: str
    b: str
    mean_a: float
    mean_b: float
    paired: PairedDifference
    interval: Interval
    error_cut: float
    p: float
    corrected: float | None = None


def compare_areas(setup: Setup, a: str, b: str, budgets: Sequence[int]) -> AreaDifference | None:
    """Arm ``a`` minus arm ``b`` over the seeds that have every budget in both; None where there is no such seed.

    Args:
        a, b: names of :meth:`~bundle.benchmark.arms.Setup.arm`.
    """
    first, second = setup.arm(a), setup.arm(b)
    if first is None or second is None or first.pool != second.pool:
        return None
    left, right = first.areas(budgets), second.areas(budgets)
    seeds = left.keys() & right.keys()
    if not seeds:
        return None
    paired = paired_difference(left, right)
    mean_a, mean_b = (sum(areas[seed] for seed in seeds) / len(seeds) for areas in (left, right))
    return AreaDifference(
        first.title,
        second.title,
        mean_a,
        mean_b,
        paired,
        bootstrap_interval(paired.differences),
        error_cut(mean_a, mean_b),
        signed_rank_p(paired.differences),
    )


def compare_family(
    setup: Setup, family: Sequence[str], budgets: Sequence[int]
) -> tuple[list[AreaDifference], list[str]]:
    """The comparisons of a family with their corrected p, and the names of those that have no rows yet.

    Args:
        family: ``"all/coldstart vs none/random"`` and so on, at most ``LARGEST_FAMILY``.
        budgets: over which the area is taken.

    Raises:
        ValueError: a name that is no comparison, or too many.
    """
    check_family(family)
    tested = {name: compare_areas(setup, a, b, budgets) for name in family for a, b in [name.split(_VERSUS)]}
    made = [found for found in tested.values() if found is not None]
    corrected = holm([found.p for found in made])
    described = [dataclasses.replace(found, corrected=p) for found, p in zip(made, corrected, strict=True)]
    return described, [name for name, found in tested.items() if found is None]


def check_family(family: Sequence[str]) -> None:
    """Raise ValueError unless ``family`` is one to ``LARGEST_FAMILY`` different comparisons."""
    wrong = [name for name in family if len(name.split(_VERSUS)) != 2]
    if wrong:
        raise ValueError(f"a comparison of a family is written 'all/coldstart vs all/random', got {wrong[0]!r}")
    if not 1 <= len(set(family)) == len(family) <= LARGEST_FAMILY:
        raise ValueError(f"a family has 1 to {LARGEST_FAMILY} different comparisons, got {len(family)}")
