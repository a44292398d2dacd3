"""Runs that share their seeds: how much one way of starting gives over another."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence


@dataclasses.dataclass(frozen=True)
class PairedDifference:
    """A minus B, seed by seed.

    Attributes:
        differences: one a seed that both have, in the order of the seeds.
    """

    differences: tuple[float, ...]

    @property
    def n(self) -> int:
        """Seeds that both have."""
        return len(self.differences)

    @property
    def mean(self) -> float:
        """Mean difference."""
        return statistics.fmean(self.differences)

    @property
    def spread(self) -> float | None:
        """Standard deviation of the differences, see :func:`deviation`."""
        return deviation(self.differences)

    @property
    def wins(self) -> int:
        """Seeds where A is higher."""
        return sum(difference > 0 for difference in self.differences)

    @property
    def ties(self) -> int:
        """Seeds where both are equal."""
        return self.n - self.wins - self.losses

    @property
    def losses(self) -> int:
        """Seeds where B is higher."""
        return sum(difference < 0 for difference in self.differences)


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
    return PairedDifference(tuple(a[seed] - b[seed] for seed in shared))


def deviation(values: Sequence[float]) -> float | None:
    """Standard deviation over seeds (n - 1); None with one seed, which tells nothing of the spread."""
    return statistics.stdev(values) if len(values) > 1 else None
