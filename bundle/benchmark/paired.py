"""Runs that share their seeds: how much one way of starting gives over another."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class PairedDifference:
    """A minus B, seed by seed.

    Attributes:
        n: seeds that both have.
        mean: mean difference.
        spread: standard deviation of the differences (n - 1), 0 with one seed.
        wins: seeds where A is higher.
        losses: seeds where B is higher.
    """

    n: int
    mean: float
    spread: float
    wins: int
    losses: int


def paired_difference(a: Mapping[int, float], b: Mapping[int, float]) -> PairedDifference:
    """Compare two ways over the seeds that both have; the unit is the seed, never the image.

    Args:
        a: seed to score.
        b: seed to score.

    Raises:
        ValueError: no seed in common.
    """
    shared = sorted(a.keys() & b.keys())
    if not shared:
        raise ValueError(f"a paired comparison needs shared seeds, got {sorted(a)} and {sorted(b)}")
    differences = [a[seed] - b[seed] for seed in shared]
    return PairedDifference(
        n=len(shared),
        mean=statistics.fmean(differences),
        spread=statistics.stdev(differences) if len(shared) > 1 else 0.0,
        wins=sum(difference > 0 for difference in differences),
        losses=sum(difference < 0 for difference in differences),
    )
