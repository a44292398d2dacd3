"""What selection costs: beside plain scikit-learn and NumPy in one process, and against the size of the pool."""

from __future__ import annotations

import dataclasses
import logging
import multiprocessing
import os
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bundle.benchmark.memory import PeakMemory
from bundle.benchmark.power_law import fitted_exponent
from bundle.embedding import IDS_FILE, VECTORS_FILE, Embeddings, unit_length
from bundle.report.style import CYCLE, FULL, MARKERS, new_figure, styled
from bundle.run.seeds import numpy_stream
from bundle.selection import find_strategy, select
from bundle.selection.clustering import kmeans_for_each, silhouette_curve, silhouette_sample
from bundle.selection.farthest_point import farthest_point_sampling

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

CLUSTERS = 12  # of a drawn pool; the published K are 8 and 11
NOISE = 0.5  # length of a vector's part outside of its cluster's direction, whose length is 1
INTRINSIC = 32  # dimensions that the noise fills; features of images lie near a surface of few
KS = range(2, 21)  # of the silhouette curve, as `ca` draws it
TIMED_KS = (2, 11, 20)  # plain silhouettes cost the same for every K, so three are timed and counted for all
_BLOCK_ROWS = 65536


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One piece of work done in two ways.

    Attributes:
        work: what was done.
        images: in the pool.
        plain: seconds of the plain way, the median of the runs.
        bundle: seconds of this package's, the median of the runs.
        agreement: how the two results compare.
    """

    work: str
    images: int
    plain: float
    bundle: float
    agreement: str

    @property
    def ratio(self) -> float:
        """How many times as long the plain way takes."""
        return self.plain / self.bundle


@dataclasses.dataclass(frozen=True)
class Cost:
    """One selection, alone in its process.

    Attributes:
        strategy: its name.
        images: in the pool.
        seconds: of opening the embeddings and selecting; None where it did not end.
        memory: greatest private memory of the process in GiB, libraries included and the mapped file not; None where
            the system does not tell.
        note: why it did not end, or empty.
    """

    strategy: str
    images: int
    seconds: float | None
    memory: float | None
    note: str = ""


def draw_pool(folder: Path, images: int, *, features: int, seed: int) -> Path:
    """Write embeddings of ``CLUSTERS`` clusters block by block into the new ``folder`` and return it."""
    folder.mkdir(parents=True)
    shape = (images, features)
    file = np.lib.format.open_memmap(folder / VECTORS_FILE, mode="w+", dtype=np.float32, shape=shape)
    rng = numpy_stream(seed, "benchmark", images, features)
    centres = unit_length(rng.standard_normal((CLUSTERS, features), dtype=np.float32))
    surface = rng.standard_normal((INTRINSIC, features), dtype=np.float32) / np.sqrt(INTRINSIC * features)
    for start in range(0, images, _BLOCK_ROWS):
        size = min(_BLOCK_ROWS, images - start)
        noise = rng.standard_normal((size, INTRINSIC), dtype=np.float32) @ surface.astype(np.float32)
        file[start : start + size] = centres[rng.integers(CLUSTERS, size=size)] + np.float32(NOISE) * noise
    file.flush()
    (folder / IDS_FILE).write_text("".join(f"image_{i:08d}\n" for i in range(images)), encoding="utf-8", newline="\n")
    return folder


def plain_farthest_points(vectors: NDArray[np.float32], count: int, first: int = 0) -> NDArray[np.intp]:
    """Farthest points by one matrix-vector product a pick."""
    norms = np.einsum("ij,ij->i", vectors, vectors)
    nearest = np.full(len(vectors), np.inf, dtype=np.float32)
    picks = np.empty(count, dtype=np.intp)
    pick = first
    for rank in range(count):
        picks[rank] = pick
        np.minimum(nearest, norms + norms[pick] - 2 * (vectors @ vectors[pick]), out=nearest)
        nearest[picks[: rank + 1]] = -1
        pick = int(np.argmax(nearest))
    return picks


def compare_farthest(vectors: NDArray[np.float32], budget: int, *, repeats: int) -> Comparison:
    """``budget`` farthest points of the whole pool."""
    slow, plain = _timed(lambda: plain_farthest_points(vectors, budget), repeats)
    fast, (found, _) = _timed(lambda: farthest_point_sampling(vectors, budget), repeats)
    return Comparison("farthest points", len(vectors), slow, fast, _same(plain, found))


def compare_silhouettes(vectors: NDArray[np.float32], *, seed: int, repeats: int) -> Comparison:
    """The exact silhouette curve over ``KS``."""
    labels = [found.labels for found in kmeans_for_each(vectors, KS, seed=seed, n_init=1)]
    slow, plain = _plain_silhouettes(vectors, labels)
    fast, curve = _timed(lambda: silhouette_curve(vectors, labels, exact_up_to=len(vectors)), repeats)
    return Comparison("silhouettes, K 2 to 20", len(vectors), slow, fast, _nearness(plain, curve.score))


def compare_ca(vectors: NDArray[np.float32], budget: int, *, seed: int, repeats: int) -> Comparison:
    """What ``ca`` does after K-means: the curve on its sample, then farthest points inside each of 11 clusters."""
    clusterings = kmeans_for_each(vectors, KS, seed=seed, n_init=1)
    labels = [found.labels for found in clusterings]
    rows = silhouette_sample(len(vectors), seed=seed)
    slow, plain = _plain_silhouettes(vectors[rows], [found[rows] for found in labels])
    fast, curve = _timed(lambda: silhouette_curve(vectors, labels, seed=seed, exact_up_to=len(rows)), repeats)
    chosen = clusterings[KS.index(11)]
    parts = [vectors[members] for members in chosen.members()]
    share = -(-budget // chosen.k)
    more, plain_picks = _timed(lambda: [plain_farthest_points(part, min(share, len(part))) for part in parts], repeats)
    less, picks = _timed(lambda: [farthest_point_sampling(part, min(share, len(part)))[0] for part in parts], repeats)
    agreement = f"{_nearness(plain, curve.score)}; {_same(np.concatenate(plain_picks), np.concatenate(picks))}"
    return Comparison("ca: silhouettes and farthest points", len(vectors), slow + more, fast + less, agreement)


def measure_cost(folder: Path, strategy: str, budget: int, *, seed: int, limit: float) -> Cost:
    """Select ``budget`` images of the embeddings in ``folder`` in a fresh process, stopped after ``limit`` seconds."""
    images = len(np.load(folder / VECTORS_FILE, mmap_mode="r"))
    find_strategy(strategy)
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_select_alone, args=(sender, folder, strategy, budget, seed), daemon=True)
    process.start()
    sender.close()
    try:
        if not receiver.poll(limit):
            return Cost(strategy, images, None, None, f"not done after {limit:g} s")
        return Cost(strategy, images, *receiver.recv())
    except EOFError:
        return Cost(strategy, images, None, None, "the process ended without an answer, as when memory runs out")
    finally:
        process.kill()
        process.join()


@styled
def draw_costs(costs: Sequence[Cost], *, budget: int) -> Figure:
    """Seconds against images, both logarithmic, a line a strategy with its fitted exponent."""
    figure, (axes,) = new_figure(width=FULL, height=4.2)
    ended = [cost for cost in costs if cost.seconds is not None]
    for number, name in enumerate(dict.fromkeys(cost.strategy for cost in ended)):
        sizes, seconds = zip(*((cost.images, cost.seconds) for cost in ended if cost.strategy == name), strict=True)
        power = fitted_exponent(sizes, seconds)
        label = name if power is None else f"{name}, N^{power:.2f}"
        style = {"color": CYCLE[number % len(CYCLE)], "marker": MARKERS[number // len(CYCLE) % len(MARKERS)]}
        axes.plot(sizes, seconds, label=label, **style)  # type: ignore[arg-type]
    axes.set(xlabel="images in the pool", ylabel="seconds")
    axes.set_title(f"Time to select {budget} images")
    if ended:
        axes.set(xscale="log", yscale="log")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _select_alone(sender: Connection, folder: Path, strategy: str, budget: int, seed: int) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    memory = PeakMemory()
    start = time.perf_counter()
    try:
        with memory:
            select(Embeddings.load(folder), strategy=strategy, budget=budget, seed=seed)
    except ValueError as error:
        sender.send((None, None, str(error)))
    else:
        sender.send((time.perf_counter() - start, memory.gibibytes, ""))


def _end_with_parent() -> None:
    """A benchmark that a signal kills cannot stop its selection, which would take a core for minutes more."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _plain_silhouettes(
    vectors: NDArray[np.float32], labels: Sequence[NDArray[np.intp]]
) -> tuple[float, dict[int, float]]:
    """Seconds for all of ``KS``, counted from ``TIMED_KS``, and the scores of these by their place on the curve."""
    from sklearn.metrics import silhouette_score

    places = [KS.index(k) for k in TIMED_KS]
    start = time.perf_counter()
    scores = {place: float(silhouette_score(vectors, labels[place])) for place in places}
    return (time.perf_counter() - start) * len(KS) / len(places), scores


def _timed(work: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        found = work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), found


def _same(plain: NDArray[np.intp], found: NDArray[np.intp]) -> str:
    if np.array_equal(plain, found):
        return f"the same {len(found)} images in the same order"
    shared = len(np.intersect1d(plain, found))
    return f"{shared} of {len(found)} images shared, {int((plain == found).sum())} at the same rank"


def _nearness(plain: dict[int, float], scores: NDArray[np.float64]) -> str:
    return f"equal to {max(abs(score - scores[place]) for place, score in plain.items()):.0e}"
