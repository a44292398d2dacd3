"""Several selections of one pool and one budget beside each other, and beside chance: overlap, coverage, typicality."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.embedding import Embeddings, unit_length
from bundle.run.seeds import numpy_stream
from bundle.selection.chance import random_orders
from bundle.selection.coverage import CoverageCurve, coverage_curve
from bundle.selection.neighbours import nearest_neighbours
from bundle.selection.strategy import Selection

NEIGHBOURS = 20  # that a density is taken over, as in TypiClust (Hacohen et al. 2022, arXiv 2202.02794, section 3.3)
DENSITY_SAMPLE = 20_000  # images that stand for a larger pool; all pairs of more take minutes
RANDOM = "random draws"


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """One selection in figures.

    Attributes:
        selection: what was chosen.
        coverage: of the pool, by budget.
        typicality: 0 to 1, the mean of :func:`density_ranks` over the images chosen; chance has 0.5.
    """

    selection: Selection
    coverage: CoverageCurve
    typicality: float

    @property
    def name(self) -> str:
        """The strategy's."""
        return self.selection.strategy


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """Selections of B images each out of the same pool, in the order given.

    Attributes:
        measured: one a strategy, S in all.
        shared: (S, S) number of images that two selections have in common.
        random_mean: (draws, B) mean distance to the nearest chosen image, of random draws of the same size.
        random_largest: (draws, B) the greatest of these distances.
        random_typicality: (draws,).
        pool: number of images that the distances are taken of.
        candidates: number of images that could be chosen.
    """

    measured: tuple[Measured, ...]
    shared: NDArray[np.intp]
    random_mean: NDArray[np.float64]
    random_largest: NDArray[np.float64]
    random_typicality: NDArray[np.float64]
    pool: int
    candidates: int

    @property
    def budget(self) -> int:
        """B, the images of every selection."""
        return len(self.measured[0].selection)

    @property
    def names(self) -> list[str]:
        """Of the strategies."""
        return [one.name for one in self.measured]

    @property
    def jaccard(self) -> NDArray[np.float64]:
        """(S, S) images in common as part of those that either has, 0 to 1."""
        return self.shared / (2 * self.budget - self.shared)

    @property
    def shared_by_chance(self) -> float:
        """The images that two random draws share on average: B² / candidates."""
        return self.budget**2 / self.candidates

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row a strategy, and the last for the random draws with the standard deviation over them."""
        for place, one in enumerate(self.measured):
            yield {
                "strategy": one.name,
                "images": self.budget,
                "mean_distance": _rounded(one.coverage.mean[-1]),
                "largest_distance": _rounded(one.coverage.largest[-1]),
                "typicality": _rounded(one.typicality),
                **{f"shared_{name}": int(self.shared[place, i]) for i, name in enumerate(self.names)},
                **{f"jaccard_{name}": _rounded(self.jaccard[place, i]) for i, name in enumerate(self.names)},
            }
        row: dict[str, Any] = {"strategy": RANDOM, "images": self.budget}
        for name, values in (
            ("mean_distance", self.random_mean[:, -1]),
            ("largest_distance", self.random_largest[:, -1]),
            ("typicality", self.random_typicality),
        ):
            row |= {name: _rounded(values.mean()), f"{name}_sd": _rounded(values.std(ddof=1))}
        yield row

    def columns(self) -> list[str]:
        """Of a table of the rows."""
        figures = ["mean_distance", "largest_distance", "typicality"]
        spread = [f"{name}_sd" for name in figures]
        return [
            *("strategy", "images", *figures, *spread),
            *(f"{kind}_{name}" for kind in ("shared", "jaccard") for name in self.names),
        ]

    def summary(self) -> dict[str, Any]:
        """All of it as JSON can hold it, the ids of every selection included."""
        return {
            "budget": self.budget,
            "pool": self.pool,
            "candidates": self.candidates,
            "random_draws": len(self.random_mean),
            "rows": list(self.rows()),
            "shared": self.shared.tolist(),
            "jaccard": [[_rounded(value) for value in row] for row in self.jaccard],
            "shared_by_chance": _rounded(self.shared_by_chance),
            "selections": {
                one.name: {
                    "seed": one.selection.seed,
                    "options": dict(one.selection.options),
                    "nested": one.selection.diagnostics["nested"],
                    "ids": list(one.selection.ids),
                }
                for one in self.measured
            },
        }


def compare(
    pool: Embeddings, selections: Sequence[Selection], *, labelled: Collection[str] = (), seed: int = 0
) -> Comparison:
    """Measure selections of one size on the pool that they were made from.

    Args:
        pool: the images that are to be covered, N; none that was excluded.
        selections: one at least, all of B images, of strategies that differ.
        labelled: ids that were labelled before: they cover the pool from the start, in the random draws as well.
        seed: of the random draws and of the sample that stands for a large pool.

    Raises:
        ValueError: there is no selection, or two differ in size or have the same strategy.
    """
    sizes = {len(selection) for selection in selections}
    names = [selection.strategy for selection in selections]
    if len(sizes) != 1:
        raise ValueError(f"a comparison needs selections of one size, got sizes {sorted(sizes)}")
    if len(set(names)) < len(names):
        raise ValueError(f"a comparison needs strategies that differ, got {', '.join(names)}")
    budget = sizes.pop()
    candidates = sorted(set(pool.ids) - set(labelled))
    draws = random_orders(candidates, budget, seed=seed)
    random = [coverage_curve(pool, draw, labelled=labelled) for draw in draws]
    ranks = density_ranks(pool, {i for ids in (*draws, *(s.ids for s in selections)) for i in ids}, seed=seed)
    chosen = [set(selection.ids) for selection in selections]
    return Comparison(
        tuple(
            Measured(selection, coverage_curve(pool, selection.ids, labelled=labelled), _mean(ranks, selection.ids))
            for selection in selections
        ),
        np.array([[len(one & other) for other in chosen] for one in chosen], dtype=np.intp),
        np.stack([curve.mean for curve in random]),
        np.stack([curve.largest for curve in random]),
        np.array([_mean(ranks, draw) for draw in draws]),
        len(pool),
        len(candidates),
    )


def density_ranks(
    pool: Embeddings, ids: Collection[str], *, seed: int = 0, sample: int = DENSITY_SAMPLE
) -> dict[str, float]:
    """How densely the surroundings of images are filled: the share of the pool that lies in thinner ones, 0 to 1.

    The density is that of TypiClust, the inverse of the mean distance to the ``NEIGHBOURS`` nearest images at length 1.
    Its rank is told and not its value, which copies of an image make infinite and which in many dimensions differs
    little; equal densities share their ranks. Costs O(N² D); a larger pool is stood for by a random ``sample``.

    Args:
        pool: N images.
        ids: those to rank.
        seed: of the sample.
        sample: images that stand for a larger pool.

    Returns:
        id to rank. A pool of one image has rank 0.5.
    """
    wanted = sorted(ids)
    row_of = {identifier: row for row, identifier in enumerate(pool.ids)}
    rows = np.array([row_of[identifier] for identifier in wanted], dtype=np.intp)
    reference = np.arange(len(pool))
    if len(pool) > sample:
        # Rows sorted by id, so that the order of the rows plays no part.
        by_id = np.array(sorted(reference, key=pool.ids.__getitem__), dtype=np.intp)
        reference = by_id[numpy_stream(seed, "density sample").choice(len(pool), size=sample, replace=False)]
    everyone = np.union1d(reference, rows)
    k = min(NEIGHBOURS, len(reference) - 1)
    if not k:
        return dict.fromkeys(wanted, 0.5)
    unit = unit_length(pool.vectors, rows=everyone)  # never all of a large pool

    def places(wanted_rows: NDArray[np.intp]) -> NDArray[np.intp]:
        return np.searchsorted(everyone, wanted_rows)

    _, distances = nearest_neighbours(unit, k, rows=places(everyone), among=places(reference))
    spacing = dict(zip(everyone.tolist(), distances.mean(axis=1, dtype=np.float64).tolist(), strict=True))
    ordered = np.sort([spacing[row] for row in reference.tolist()])
    own = np.array([spacing[row] for row in rows.tolist()])
    thinner = len(ordered) - np.searchsorted(ordered, own, side="right")
    equal = np.searchsorted(ordered, own, side="right") - np.searchsorted(ordered, own, side="left")
    return dict(zip(wanted, ((thinner + equal / 2) / len(ordered)).tolist(), strict=True))


def _mean(ranks: dict[str, float], ids: Sequence[str]) -> float:
    return float(np.mean([ranks[identifier] for identifier in ids]))


def _rounded(value: float) -> float:
    return round(float(value), 6)
