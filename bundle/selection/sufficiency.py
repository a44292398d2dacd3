"""How many images are enough: what a selection has reached, what its next images would add, and how chance fares.

The measure is coverage, the distance that is left from an image of the pool to the nearest chosen one, in the space of
the embeddings. It is a proxy. It tells when new images begin to resemble those that are chosen, not how much better a
model gets: that is seen only by training on what is annotated and scoring on a test set.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.embedding import Embeddings
from bundle.run.seeds import numpy_stream
from bundle.selection.chance import random_orders
from bundle.selection.coverage import CoverageCurve, coverage_curve
from bundle.selection.strategy import Selection, select

logger = logging.getLogger(__name__)

MOST_FURTHER = 200  # images looked at beyond the budget, and never more than the budget itself
SAMPLE = 20_000  # random images whose distances stand for those of a larger pool, to a hundredth of their spread
LOOK_AHEAD_UP_TO = 20_000  # images; a larger pool would have to be ranked a second time at a cost of minutes
WINDOW = 0.1  # of the budget: the images that a gain is averaged over, since single ones jump
_DIGITS = 6


@dataclasses.dataclass(frozen=True)
class Gain:
    """By how much each image lowers the mean distance, averaged over a window of images.

    Attributes:
        images: the window.
        ahead: they lie beyond the budget; else they are the last of the selection.
        per_image: fall of the mean distance an image, in the units of the coverage curve.
        left: the mean distance before the window; of images ahead what is left after the budget.
        share_of_left: ``per_image`` as part of ``left``; 0 where nothing is left.
        share_of_first: ``per_image`` as part of what each image of the first window after rank 1 brought; None where
            that was nothing.
        random_per_image: what an image of the same ranks brings in random draws, their mean.
    """

    images: int
    ahead: bool
    per_image: float
    left: float
    share_of_left: float
    share_of_first: float | None
    random_per_image: float


@dataclasses.dataclass(frozen=True, eq=False)
class Sufficiency:
    """Coverage of the pool by budget, of a selection and, where that could be told, of the images that would follow.

    Attributes:
        asked: B, the images of the selection.
        mean: (M,) mean distance after 1 to M images, M at least B, as in a ``CoverageCurve``.
        largest: (M,) the greatest distance.
        random: (draws, M) the mean distance after as many images drawn at random.
        knee: number of images after which ``mean`` bends most, out of all M; None where it bends nowhere.
        pool: number of images that the distances are taken of.
    """

    asked: int
    mean: NDArray[np.float64]
    largest: NDArray[np.float64]
    random: NDArray[np.float64]
    knee: int | None
    pool: int

    @property
    def further(self) -> int:
        """Images beyond the budget that were looked at."""
        return len(self.mean) - self.asked

    @property
    def random_equivalent(self) -> int | None:
        """How many random images cover the pool as well, by the mean of the draws; None where M do not."""
        reached = np.flatnonzero(self.random.mean(axis=0) <= self.mean[self.asked - 1])
        return int(reached[0]) + 1 if len(reached) else None

    @property
    def gain(self) -> Gain | None:
        """What the next images bring, or, where nothing is known of them, what the last ones brought.

        None for a selection of one image that nothing is known to follow.
        """
        window = max(1, round(WINDOW * self.asked))
        ahead = self.further > 0
        window = min(window, self.further if ahead else self.asked - 1)
        if not window:
            return None
        start = self.asked - 1 if ahead else self.asked - 1 - window
        fall = _fall(self.mean, start, window)
        first = _fall(self.mean, 0, window)
        left = float(self.mean[start])
        return Gain(
            images=window,
            ahead=ahead,
            per_image=fall,
            left=left,
            share_of_left=fall / left if left > 0 else 0.0,
            share_of_first=fall / first if first > 0 else None,
            random_per_image=_fall(self.random.mean(axis=0), start, window),
        )

    def how_many(self) -> str:
        """One sentence: what the budget reaches, where the curve bends, what more would bring."""
        at = self.asked - 1
        low, high = self.random[:, at].min(), self.random[:, at].max()
        parts = [f"mean distance {self.mean[at]:.3f} after {_images(self.asked)}, {low:.3f} to {high:.3f} at random"]
        parts.append(f"the curve bends most at {self.knee}" if self.knee else "the curve has no bend")
        if self.further:
            parts.append(f"{self.further} more would bring it to {self.mean[-1]:.3f}")
        return "coverage: " + "; ".join(parts)

    def when_to_stop(self) -> str:
        """One sentence: what the next images add, against what the first did and against random ones."""
        gain = self.gain
        if gain is None:
            return "gain: not known from a single image"
        if not gain.left:
            return "gain: no image can add any, since each of the pool equals one that is chosen or labelled"
        which = "next" if gain.ahead else "last"
        verb = "would lower" if gain.ahead else "lowered"
        text = f"gain: each of the {which} {_images(gain.images)} {verb} the mean distance by {gain.share_of_left:.2%}"
        if gain.share_of_first is not None:
            text += f", {gain.share_of_first:.0%} of what each of the first brought"
        by_chance = gain.random_per_image / gain.left
        return f"{text}; random ones by {by_chance:.2%}. Coverage is a proxy, no Dice: train and score to know"

    def summary(self) -> dict[str, Any]:
        """All of it as JSON can hold it, the random draws as their mean, least and greatest."""
        return {
            "asked": self.asked,
            "further": self.further,
            "pool": self.pool,
            "mean": _rounded(self.mean),
            "largest": _rounded(self.largest),
            "random_draws": len(self.random),
            "random_mean": _rounded(self.random.mean(axis=0)),
            "random_low": _rounded(self.random.min(axis=0)),
            "random_high": _rounded(self.random.max(axis=0)),
            "knee": self.knee,
            "random_equivalent": self.random_equivalent,
            "gain": None if self.gain is None else dataclasses.asdict(self.gain),
            "in_words": [self.how_many(), self.when_to_stop()],
        }


def look_ahead(
    embeddings: Embeddings,
    selection: Selection,
    *,
    labelled: Collection[str] = (),
    exclude: Collection[str] = (),
) -> tuple[str, ...]:
    """The ids that would follow the selection: as many again, at most ``MOST_FURTHER`` and what is left.

    Empty where the strategy is not nested, since another budget would be another selection, and for pools of more than
    ``LOOK_AHEAD_UP_TO`` images. It costs about as much as the selection itself.

    Args:
        embeddings: that ``selection`` was made on.
        selection: what was chosen.
        labelled: as given to ``select``.
        exclude: as given to ``select``.
    """
    found = selection.diagnostics
    left = found["pool"] - found["labelled"] - len(selection)
    further = min(len(selection), MOST_FURTHER, left)
    if not found["nested"] or found["pool"] > LOOK_AHEAD_UP_TO or further < 1:
        return ()
    longer = select(
        embeddings,
        strategy=selection.strategy,
        budget=len(selection) + further,
        seed=selection.seed,
        labelled=labelled,
        exclude=exclude,
        **selection.options,
    ).ids
    if longer[: len(selection)] != selection.ids:
        logger.warning("strategy %r is not nested as it says: nothing is told beyond the budget", selection.strategy)
        return ()
    return longer[len(selection) :]


def measure_sufficiency(
    pool: Embeddings,
    selected: Sequence[str],
    *,
    further: Sequence[str] = (),
    labelled: Collection[str] = (),
    seed: int = 0,
) -> Sufficiency:
    """Coverage of ``pool`` by the selection, the images that would follow and random draws beside them.

    Costs O(N D M) for each of ``chance.DRAWS`` + 1 curves, with M images selected or further. Of a pool of more than
    ``SAMPLE`` images the distances are those of a random sample, to images chosen out of the whole pool. Images that
    are chosen or labelled stand in the sample as often as in the pool, so that their distances of 0 count no more.

    Args:
        pool: the embeddings that are to be covered, N images; none that was excluded.
        selected: B ids, rank 1 first.
        further: ids that would follow, of :func:`look_ahead`.
        labelled: ids that were labelled before; they count from the start, for the random draws as well. Those outside
            of the pool play no part.
        seed: of the random draws and the sample.

    Raises:
        ValueError: ``selected`` is empty or has an id that is not in the pool.
    """
    order = [*selected, *further]
    before = set(labelled) & set(pool.ids)
    draws = random_orders(set(pool.ids) - before, len(order), seed=seed)
    sample = _sample(pool.ids, seed=seed)

    def covered_by(ids: Sequence[str]) -> CoverageCurve:
        needed = pool.subset(sorted({*sample, *before, *ids}))  # little of a large pool, which stays on the disk
        return coverage_curve(needed, ids, labelled=before, over=sample)

    curve, *random = map(covered_by, (order, *draws))
    by_chance = np.stack([one.mean for one in random])
    return Sufficiency(len(selected), curve.mean, curve.largest, by_chance, curve.knee, len(sample))


def _sample(ids: Sequence[str], *, seed: int) -> list[str]:
    """The ids whose distances are taken: all, or ``SAMPLE`` random ones; their order plays no part."""
    ordered = sorted(ids)
    if len(ordered) <= SAMPLE:
        return ordered
    rows = numpy_stream(seed, "sufficiency").choice(len(ordered), size=SAMPLE, replace=False)
    return [ordered[row] for row in np.sort(rows)]


def _fall(curve: NDArray[np.float64], start: int, window: int) -> float:
    return float(curve[start] - curve[start + window]) / window


def _images(count: int) -> str:
    return f"{count} image" + "s" * (count != 1)


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), _DIGITS) for value in values]
