"""``activeft``: centroids learned on the unit sphere (Xie et al., CVPR 2023, arXiv 2303.14382)."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from tqdm import tqdm

from bundle.selection.farthest_point import farthest_point_sampling
from bundle.selection.options import require_choice, require_number, require_whole
from bundle.selection.strategy import Pick, Pool, Ranking, strategy
from bundle.selection.threads import one_thread_each

STARTS = ("random", "fps")
BATCH = 100_000  # images an iteration, as in the authors' code for ImageNet
_CELLS = 1 << 22  # 16 MiB of float32 products at a time
_PROGRESS_AFTER = 5  # seconds

Batches = Callable[[int], NDArray[np.intp]]
"""Number of an iteration, from 0, to the rows it sees."""


@strategy(
    "activeft",
    nested=False,
    summary="centroids learned to follow the pool and to keep apart, the image nearest to each",
    good_for="a final budget of some per cent, as published",
    cost="300 (min(N, 100 000) B + B²) D",
    paper="Xie et al. 2023, CVPR, arXiv 2303.14382",
)
def active_finetuning(
    pool: Pool,
    budget: int,
    *,
    temperature: float = 0.07,
    iterations: int = 300,
    learning_rate: float = 1e-3,
    start: str = "random",
    batch: int = BATCH,
) -> Ranking:
    """A set of images distributed as the pool is, and diverse.

    Features f and centroids t have length 1. Each feature belongs to its nearest centroid c; Adam lowers the mean of

        log(1 + exp(log sum over k of exp(t_k . t_c / T) - f . t_c / T)),

    their equation 6 in the form that their code gives it: it draws centroids to their features and pushes each away
    from the others, the t_k being taken as constants. Then every centroid takes the unused image with the largest
    cosine, the centroid of most images first; that cosine is the score, and the order of the ranks. Labelled images are
    centroids that stay where they are, so the others keep away from them and leave them the images around.

    Not nested: all centroids move together. Costs O((n B + B²) D) an iteration with n = min(N, ``batch``), and O(N D B)
    in the end; memory beside the vectors O(N + B D) and blocks of 16 MiB for each core. A pool of more than ``batch``
    images is gone through in a random order, ``batch`` at a time. The blocks of rows and the order of their sums are
    the same for any number of threads.

    Where this departs from the authors' code, and why:

    - logarithms of sums of exponentials are formed without leaving float32's range at low temperatures;
    - theirs draws every batch from the pool anew; here none of it comes twice before all did once;
    - centroids choose in the order of their sizes, theirs in the order they were drawn in, which says nothing;
    - theirs knows no labelled images;
    - the gradient is written out, so that selection does without torch, which takes seconds to start.

    Args:
        temperature: T; 0.07 as published.
        iterations: of Adam; 300 as published.
        learning_rate: of Adam; 0.001 as published.
        start: centroids to begin with: ``"random"`` images as published, or ``"fps"``, the farthest points, which their
            code offers too. Where images are labelled it is always these, from the labelled ones on.
        batch: images an iteration, at most.
    """
    require_number("temperature", temperature, least=1e-3, most=1e3)
    require_number("learning_rate", learning_rate, least=1e-9, most=1)
    require_whole("iterations", iterations, least=0)
    require_whole("batch", batch, least=1)
    require_choice("start", start, STARTS)

    unit, labelled = pool.unit, np.flatnonzero(pool.labelled)
    first = _first(pool, budget, start)
    with one_thread_each() as limit_thread, ThreadPoolExecutor(os.cpu_count(), initializer=limit_thread) as workers:
        learner = Centroids(unit, unit[first], unit[labelled], temperature=temperature, workers=workers)
        batches = _batches(pool, batch)
        steps = tqdm(range(iterations), desc="centroids", delay=_PROGRESS_AFTER, disable=None, leave=False)
        losses = [learner.step(batches(step), learning_rate) for step in steps]
        rows, cosines, sizes = _nearest_unused(learner, pool)
    picks = [
        Pick(int(row), float(cosine), f"nearest unused image to a centroid of {size} images")
        for row, cosine, size in zip(rows, cosines, sizes, strict=True)
    ]
    ends = {"first_loss": losses[0], "last_loss": losses[-1]} if losses else {}
    return Ranking(picks, diagnostics={**ends, "batch": min(batch, len(pool))})


class Centroids:
    """Centroids that learn, beside others that stay.

    Args:
        unit: (N, D) float32, vectors of length 1.
        start: (B, D) float32, centroids that learn.
        fixed: (L, D) float32, centroids that stay.
        temperature: T of the loss.
        workers: the threads to use; results do not depend on their number.
    """

    def __init__(
        self,
        unit: NDArray[np.float32],
        start: NDArray[np.float32],
        fixed: NDArray[np.float32],
        *,
        temperature: float,
        workers: ThreadPoolExecutor,
    ) -> None:
        self.unit = unit
        self.free = len(start)
        self.parameters = start.astype(np.float32)
        self._fixed = fixed
        self._sharpness = np.float32(1 / temperature)
        self._workers = workers
        self._momentum = np.zeros_like(self.parameters)
        self._square = np.zeros_like(self.parameters)
        self._steps = 0

    @property
    def points(self) -> NDArray[np.float32]:
        """(B + L, D) all centroids at length 1, those that learn first."""
        return np.concatenate([self.parameters / self._lengths(), self._fixed])

    def nearest(
        self, rows: NDArray[np.intp], points: NDArray[np.float32]
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """The nearest of ``points`` for each of ``rows`` (n,), the first of equals, and its cosine."""

        def look(part: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
            cosines = self.unit[part] @ points.T
            best = cosines.argmax(axis=1)
            return best, cosines[np.arange(len(part)), best]

        found = list(self._workers.map(look, _parts(rows, len(points))))
        return np.concatenate([best for best, _ in found]), np.concatenate([cosine for _, cosine in found])

    def loss(self, rows: NDArray[np.intp]) -> tuple[float, NDArray[np.float32]]:
        """The mean loss over ``rows`` (n,), and its gradient (B, D) with respect to the parameters."""
        points = self.points
        nearest, cosines = self.nearest(rows, points)
        crowding, repulsion = self._crowding(points)
        excess = crowding[nearest] - cosines * self._sharpness
        # The derivative of log(1 + exp(z)) is 1 / (1 + exp(-z)) = (1 + tanh(z / 2)) / 2.
        weight = (1 + np.tanh(excess / 2)) / np.float32(2 * len(rows))
        attraction = self._sum_by_centroid(rows, nearest, weight, len(points))
        push = np.bincount(nearest, weight, minlength=len(points))[: self.free, None].astype(np.float32)
        gradient = self._sharpness * (push * repulsion - attraction[: self.free])
        # Along a centroid nothing changes: its length is taken out.
        own = points[: self.free]
        gradient -= np.einsum("ij,ij->i", gradient, own)[:, None] * own
        return float(np.logaddexp(0, excess).mean(dtype=np.float64)), gradient / self._lengths()

    def step(self, rows: NDArray[np.intp], learning_rate: float) -> float:
        """One step of Adam (Kingma and Ba 2015, arXiv 1412.6980, with its defaults) on ``rows``; the loss before it."""
        loss, gradient = self.loss(rows)
        self._steps += 1
        self._momentum += np.float32(1 - 0.9) * (gradient - self._momentum)
        self._square += np.float32(1 - 0.999) * (gradient**2 - self._square)
        scale = np.sqrt(self._square / np.float32(1 - 0.999**self._steps)) + np.float32(1e-8)
        self.parameters -= np.float32(learning_rate / (1 - 0.9**self._steps)) * self._momentum / scale
        return loss

    def _crowding(self, points: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Log of the sum of exp(t_k . t_j / T) over all k, (B + L,), and the softmax mean of the t_k, (B, D)."""
        logs = np.empty(len(points), dtype=np.float32)
        means = np.empty_like(self.parameters)
        for part in _parts(np.arange(len(points)), len(points)):
            exponents = (points[part] @ points.T) * self._sharpness
            largest = exponents.max(axis=1, keepdims=True)
            np.exp(exponents - largest, out=exponents)
            total = exponents.sum(axis=1, keepdims=True)
            logs[part] = (largest + np.log(total))[:, 0]
            own = part < self.free
            means[part[own]] = (exponents[own] / total[own]) @ points
        return logs, means

    def _sum_by_centroid(
        self, rows: NDArray[np.intp], nearest: NDArray[np.intp], weight: NDArray[np.floating], count: int
    ) -> NDArray[np.float32]:
        total = np.zeros((count, self.unit.shape[1]), dtype=np.float32)
        step = max(1, _CELLS // self.unit.shape[1])
        for begin in range(0, len(rows), step):
            part = slice(begin, begin + step)
            members = np.arange(len(rows[part]))
            shares = csr_array((weight[part], (nearest[part], members)), shape=(count, len(members)))
            total += shares @ self.unit[rows[part]]
        return total

    def _lengths(self) -> NDArray[np.float32]:
        lengths = np.linalg.norm(self.parameters, axis=1, keepdims=True)
        return np.where(lengths > 0, lengths, np.float32(1))  # a centroid may start at a zero vector


def _first(pool: Pool, budget: int, start: str) -> NDArray[np.intp]:
    order = pool.stream("activeft", "start").permutation(len(pool))
    drawn = order[pool.candidates[order]]
    labelled = np.flatnonzero(pool.labelled)
    if start == "random" and not len(labelled):  # centroids hardly move: drawn ones would stay among what is labelled
        return drawn[:budget]
    return farthest_point_sampling(pool.unit, budget, start_from=labelled, first=int(drawn[0]))[0]


def _batches(pool: Pool, size: int) -> Batches:
    """The whole pool, or the next ``size`` images of a random order over and over where it is larger."""
    n = len(pool)
    if n <= size:
        return lambda _: np.arange(n)
    order = pool.stream("activeft", "batches").permutation(n)
    return lambda step: order[np.arange(step * size, (step + 1) * size) % n]


def _nearest_unused(learner: Centroids, pool: Pool) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.intp]]:
    """Row and cosine (B,) of the image each centroid takes, and how many images it is nearest to; these descending."""
    points = learner.points
    nearest, _ = learner.nearest(np.arange(len(pool)), points)
    sizes = np.bincount(nearest, minlength=len(points))[: learner.free]
    order = np.argsort(-sizes, kind="stable")
    unused = pool.candidates.copy()
    rows = np.empty(learner.free, dtype=np.intp)
    cosines = np.empty(learner.free, dtype=np.float32)
    together = max(1, _CELLS * 8 // len(pool))
    for begin in range(0, learner.free, together):
        found = points[order[begin : begin + together]] @ pool.unit.T
        for rank, cosine in enumerate(found, start=begin):
            cosine[~unused] = -np.inf
            rows[rank] = np.argmax(cosine)
            cosines[rank] = cosine[rows[rank]]
            unused[rows[rank]] = False
    return rows, cosines, sizes[order]


def _parts(rows: NDArray[np.intp], columns: int) -> list[NDArray[np.intp]]:
    step = min(8192, max(1, _CELLS // columns))
    return [rows[begin : begin + step] for begin in range(0, len(rows), step)]
