"""``probcover``: the balls that cover the most images (Yehuda et al., NeurIPS 2022)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bundle.selection.clustering import N_INIT, kmeans
from bundle.selection.farthest_point import farthest_point_sampling
from bundle.selection.lazy_greedy import greatest_gain
from bundle.selection.neighbours import nearer_than, nearest_neighbours
from bundle.selection.options import require_number, require_whole
from bundle.selection.strategy import Pick, Pool, Ranking, strategy

EXACT_UP_TO = 20_000  # images; all pairs of more take minutes on two cores
COUNTED = 10_000  # images on which coverage is counted in a larger pool; a share is then known to 0.5 %
PURITY_SAMPLE = 5_000  # balls looked at for delta; the share of pure ones is then known to 0.3 %
_CLOSEST = 1e-6  # least radius, so that an image covers itself and its copies
_ROWS = 4096
_COLUMNS = 1024  # with 4096 rows 16 MiB of float32
_AGAIN = 16  # balls counted again together
_PROGRESS_AFTER = 5  # seconds


@strategy(
    "probcover",
    nested=True,
    summary="greedy coverage of the pool by balls of one radius",
    good_for="very few labels, when more may follow",
    cost="N² D up to 20 000 images, then 10 000 N D; and N B",
    paper="Yehuda et al. 2022, NeurIPS, arXiv 2205.11320",
)
def probability_cover(
    pool: Pool,
    budget: int,
    *,
    delta: float | None = None,
    purity: float = 0.95,
    classes: int = 10,
    n_init: int = N_INIT,
) -> Ranking:
    """Always the image whose ball of radius delta covers the most images that no ball covers yet.

    Greedy maximum coverage (algorithm 1 of the paper) on vectors of length 1; the balls of labelled images cover from
    the start. The score is the share of the pool that the image's ball adds.

    Delta is the largest radius at which a share ``purity`` of all balls are pure, that is hold images of
    one pseudo class of K-means only. A ball is pure as long as its radius does not exceed the distance to the nearest
    image of another class, so delta is the (1 - ``purity``) quantile of these distances: exact, without a search over
    radii. The choice depends on it a good deal; it is among the diagnostics.

    Once every image is covered no ball adds any, and the ranks that are left go to the image farthest from all chosen
    and labelled ones (farthest point sampling); their score is that distance.

    No graph of neighbours is stored. A ball's count falls when images in it become covered and never grows, so what it
    was bounds what it is, and the search is lazy (``greatest_gain``). The first counts cost O(N² D) time, and O(N)
    memory.

    Where this departs from the authors' code, and why:

    - there are no classes in segmentation, whose number sets K in theirs: ``classes`` stands for the kinds of images;
    - delta is computed, not picked from a plot; theirs takes it from the user;
    - the ball that covers the most is always taken; for the paper it was one at random of the best five, as theirs
      notes;
    - theirs builds its graph in batches of 500 and drops the rest, so that under 500 images it fails, and after full
      coverage it gives one image again and again;
    - above 20 000 images coverage is counted on a random 10 000 of them; delta is taken from 5 000 balls at most.

    Args:
        delta: radius between 0 and 2, in place of the rule.
        purity: share of pure balls, 0 to 1; 0.95 as published.
        classes: pseudo classes of K-means; 10 as in CIFAR-10, on which delta came to 0.75.
        n_init: restarts of K-means; of more than 50 000 images on a sample of them, see ``kmeans``.
    """
    require_whole("classes", classes, least=1)
    require_whole("n_init", n_init, least=1)
    require_number("purity", purity, most=1, above=True)
    order = pool.stream("probcover").permutation(len(pool))
    points = np.sort(order if len(pool) <= EXACT_UP_TO else order[:COUNTED])
    diagnostics: dict[str, Any] = {}
    if delta is not None:
        require_number("delta", delta, above=True)
        radius = float(delta)
    else:
        found = kmeans(pool.unit, classes, seed=pool.derive_seed("probcover"), n_init=n_init).labels
        radius = _pure_radius(pool.unit, found, np.sort(order[:PURITY_SAMPLE]), points, purity)
        diagnostics["classes"] = int(found.max()) + 1
    radius = max(radius, _CLOSEST)
    cover = _Cover(pool.unit, radius, points)
    cover.add(np.flatnonzero(pool.labelled))
    free = pool.candidates
    cover.count(free)
    picks: list[Pick] = []
    bar = tqdm(total=budget, desc="balls", delay=_PROGRESS_AFTER, disable=None, leave=False)
    with bar as progress:
        while len(picks) < budget and cover.uncovered.any():
            row = cover.best()
            share = int(cover.gains[row]) / len(cover.points)
            picks.append(Pick(row, share, "covers the most images not covered yet"))
            free[row], cover.gains[row] = False, -1
            cover.add(np.array([row]))
            progress.update()
    diagnostics |= {
        "delta": radius if np.isfinite(radius) else None,
        "balls": len(picks),
        "coverage": float(1 - cover.uncovered.mean()),
        "counted": len(cover.points),
    }
    taken = np.flatnonzero(~free)
    rows, distances = farthest_point_sampling(pool.unit, budget - len(picks), start_from=taken)
    picks += [
        Pick(int(row), float(distance), "farthest from all chosen, every image being covered")
        for row, distance in zip(rows, distances, strict=True)
    ]
    return Ranking(picks, diagnostics=diagnostics)


class _Cover:
    """Which ``points`` the balls so far cover, and how many more, at most, the ball about each free row would."""

    def __init__(self, vectors: NDArray[np.float32], radius: float, points: NDArray[np.intp]) -> None:
        self.vectors, self.radius, self.points = vectors, radius, points
        self.uncovered = np.ones(len(points), dtype=bool)
        self.gains = np.zeros(len(vectors), dtype=np.int64)

    def add(self, rows: NDArray[np.intp]) -> None:
        """Cover with the balls about ``rows``."""
        left = np.flatnonzero(self.uncovered)
        for block in _blocks(rows):
            for part in _blocks(left, _COLUMNS):
                inside = nearer_than(self.vectors, self.radius, block, self.points[part]).any(axis=0)
                self.uncovered[part[inside]] = False

    def count(self, free: NDArray[np.bool_]) -> None:
        """Make ``gains`` right for what is uncovered now, and -1 for rows that are not ``free``."""
        self.gains[free] = self._gains_of(np.flatnonzero(free))
        self.gains[~free] = -1

    def best(self) -> int:
        """The row whose ball covers the most points that are uncovered, the first of equals."""
        return greatest_gain(self.gains, self._gains_of, at_once=_AGAIN)

    def _gains_of(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """How many points that are uncovered the ball about each of ``rows`` covers."""
        points = self.points[self.uncovered]
        gains = np.zeros(len(rows), dtype=np.int64)
        for block in _blocks(np.arange(len(rows))):
            for part in _blocks(points, _COLUMNS):
                near = nearer_than(self.vectors, self.radius, rows[block], part)
                gains[block] += np.count_nonzero(near, axis=1)
        return gains


def _pure_radius(
    vectors: NDArray[np.float32],
    classes: NDArray[np.intp],
    scored: NDArray[np.intp],
    searched: NDArray[np.intp],
    purity: float,
) -> float:
    """The largest radius at which a share ``purity`` of the balls about ``scored`` hold one class of ``searched``."""
    distances = np.full(len(scored), np.inf, dtype=np.float32)  # to the nearest image of another class
    for number in np.unique(classes[scored]):
        others = searched[classes[searched] != number]
        mine = classes[scored] == number
        if len(others):
            distances[mine] = nearest_neighbours(vectors, 1, rows=scored[mine], among=others)[1][:, 0]
    impure = min(int((1 - purity) * len(scored) + 1e-9), len(scored) - 1)  # balls that may hold another class
    found = np.sort(distances)[impure]
    return float(np.nextafter(found, 0) if np.isfinite(found) else found)  # rounded up it would hold that image


def _blocks(rows: NDArray[np.intp], step: int = _ROWS) -> list[NDArray[np.intp]]:
    return [rows[start : start + step] for start in range(0, len(rows), step)]
