"""What every strategy shares: the signature, the registry, and ``select``, which keeps the promises.

A strategy is one function from a ``Pool`` and a budget to a ``Ranking`` of rows, with its options keyword-only::

    @strategy(
        "k_center", nested=True, summary="greedy k-center on the whole pool",
        good_for="covering rare images", cost="N D B", paper="Gonzalez 1985",
    )
    def k_center(pool: Pool, budget: int, *, normalise: bool = True) -> Ranking:
        vectors = pool.unit if normalise else pool.vectors
        rows, distances = farthest_point_sampling(vectors, budget, start_from=np.flatnonzero(pool.labelled))
        distances = np.where(np.isfinite(distances), distances, 0.0)  # the first of all is far from nothing
        return Ranking([Pick(int(row), float(d), "farthest point") for row, d in zip(rows, distances)])

It sees rows sorted by id and knows no id, path or image. Listing its module in ``bundle/selection/__init__.py``
registers it, and the contract suite (tests/selection/test_contract.py) then tests it with all the others.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import logging
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.embedding import Embeddings, rows_of, unit_length
from bundle.run.seeds import derive_seed, numpy_stream
from bundle.selection.registration import find_named, keyword_options, resolve_options

logger = logging.getLogger(__name__)


class Pool:
    """What a strategy sees: N images as rows, sorted by id. Images that are excluded are not among them.

    ``vectors`` and ``unit`` are made when they are first asked for, so a strategy that takes one pays for one: (N, D)
    float32 is 1 GiB for a million images with 256 features. Where that is much of the machine's memory they are mapped
    from a file, so a strategy should go through them in blocks.

    Args:
        vectors: (M, D) float32, finite, as embedded; a memory-mapped file is read in blocks.
        labelled: (N,) bool, images that have a label: they steer the choice and are never chosen.
        seed: the run's seed.
        rows: (N,) rows of ``vectors`` in the pool's order; all of them as they stand by default.
    """

    def __init__(
        self,
        vectors: NDArray[np.float32],
        labelled: NDArray[np.bool_],
        seed: int,
        *,
        rows: NDArray[np.intp] | None = None,
    ) -> None:
        self.labelled = labelled
        self.seed = seed
        self._table = vectors
        self._rows = rows

    def __len__(self) -> int:
        return len(self.labelled)

    @functools.cached_property
    def vectors(self) -> NDArray[np.float32]:
        """(N, D) float32, as embedded; the file itself where its rows are the pool's."""
        if self._rows is None:
            return np.ascontiguousarray(self._table)
        return rows_of(self._table, self._rows)

    @functools.cached_property
    def unit(self) -> NDArray[np.float32]:
        """The vectors at length 1 (L2); a zero vector stays zero."""
        return unit_length(self._table, rows=self._rows)

    def unit_of(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """The vectors of some ``rows`` at length 1, read from the table without making ``unit``."""
        return unit_length(self._table, rows=rows if self._rows is None else self._rows[rows])

    @property
    def candidates(self) -> NDArray[np.bool_]:
        """(N,) bool, images that may be chosen."""
        return ~self.labelled

    def derive_seed(self, *names: object) -> int:
        """A seed for the stream ``names`` of this run."""
        return derive_seed(self.seed, "selection", *names)

    def stream(self, *names: object) -> np.random.Generator:
        """A random stream by name, apart from all others."""
        return numpy_stream(self.seed, "selection", *names)


@dataclasses.dataclass(frozen=True)
class Pick:
    """One row of the pool that a strategy chose.

    Attributes:
        row: position in the pool, 0 to N - 1.
        score: the figure the choice was made by; the reason says which.
        reason: why, in a few words for an annotator.
        cluster: 0 for the largest, None where the strategy has no clusters.
    """

    row: int
    score: float
    reason: str
    cluster: int | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Ranking:
    """What a strategy gives back.

    Attributes:
        picks: as many as the budget, the most urgent first.
        labels: (N,) cluster of every row, or None.
        diagnostics: what else a report can show; only what JSON can hold.
    """

    picks: Sequence[Pick]
    labels: NDArray[np.intp] | None = None
    diagnostics: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Strategy:
    """A registered strategy.

    Attributes:
        name: by which it is asked for.
        summary: how it chooses, one phrase for a table.
        good_for: when to take it, one phrase for a table.
        cost: time in N images, D features, budget B and clusters K, such as ``"N D B"``.
        paper: where it comes from.
        nested: the first k of a selection of n are the selection of k, and, once they are labelled, the next n - k
            are the rest of it.
        options: name to default.
        function: the implementation.
    """

    name: str
    summary: str
    good_for: str
    cost: str
    paper: str
    nested: bool
    options: Mapping[str, Any]
    function: Callable[..., Ranking]

    def resolve(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The defaults with ``given`` over them. Raises ValueError for a name that is no option."""
        return resolve_options(self.options, given, f"strategy {self.name!r}")


@dataclasses.dataclass(frozen=True)
class SelectedImage:
    """One image to annotate.

    Attributes:
        rank: from 1, the most urgent first.
        id: of the image.
        cluster: from 1, the largest; None where the strategy has no clusters.
        score: the figure the choice was made by.
        reason: why, such as "farthest point in cluster 3".
    """

    rank: int
    id: str
    cluster: int | None
    score: float
    reason: str


@dataclasses.dataclass(frozen=True)
class Selection:
    """Exactly the budget of images to annotate, ranked.

    Attributes:
        rows: one an image, rank 1 first.
        strategy: name of the strategy.
        seed: of every random choice.
        options: all of the strategy's options, defaults included.
        diagnostics: ``pool``, ``labelled``, ``excluded`` (numbers of images) and ``nested``; from strategies with
            clusters also ``clusters`` (cluster of every image of the pool, by id), ``cluster_sizes``, ``quotas`` and
            ``held`` (labelled before), by cluster from 1; from a search of K ``silhouette``.
    """

    rows: tuple[SelectedImage, ...]
    strategy: str
    seed: int
    options: Mapping[str, Any]
    diagnostics: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids, rank 1 first."""
        return tuple(row.id for row in self.rows)


_REGISTRY: dict[str, Strategy] = {}


def strategy(
    name: str,
    *,
    nested: bool,
    summary: str,
    good_for: str,
    cost: str,
    paper: str = "",
) -> Callable[[Callable[..., Ranking]], Callable[..., Ranking]]:
    """Register a function ``(pool, budget, *, option=default, ...) -> Ranking`` as the strategy ``name``.

    The arguments are those of :class:`Strategy`.
    """

    def register(function: Callable[..., Ranking]) -> Callable[..., Ranking]:
        assert name not in _REGISTRY, f"two strategies are called {name!r}"
        options = keyword_options(function, name)
        _REGISTRY[name] = Strategy(name, summary, good_for, cost, paper, nested, options, function)
        return function

    return register


def available_strategies() -> dict[str, Strategy]:
    """Every registered strategy by its name, in alphabetical order."""
    return dict(sorted(_REGISTRY.items()))


def find_strategy(name: str) -> Strategy:
    """The strategy called ``name``. Raises ValueError where there is none."""
    return find_named(_REGISTRY, name, "strategy")


def select(
    embeddings: Embeddings | tuple[Sequence[str], NDArray[Any]],
    *,
    strategy: str,
    budget: int,
    seed: int = 0,
    labelled: Collection[str] = (),
    exclude: Collection[str] = (),
    **options: Any,
) -> Selection:
    """Choose which images to annotate first.

    Whatever the strategy, the answer has exactly ``budget`` different images, none labelled or excluded; the same
    seed gives the same answer, and the order of the rows plays no part in it.

    Args:
        embeddings: ``Embeddings``, or a pair of ids (N) and vectors (N, D) floating point.
        strategy: name out of ``available_strategies()``.
        budget: number of images, from 1 to those that are left.
        seed: of every random choice.
        labelled: ids that have a label already: never chosen, but they count as chosen before.
        exclude: ids that are neither chosen nor looked at, such as the test set's; goes before ``labelled``.
        options: of the strategy.

    Raises:
        ValueError: the embeddings are unsound (see ``Embeddings``), the strategy or an option is unknown or out of
            range, or the budget is not 1 to the number of images that are left.
    """
    chosen_strategy = find_strategy(strategy)
    resolved = chosen_strategy.resolve(options)
    if not isinstance(embeddings, Embeddings):
        ids, vectors = embeddings
        embeddings = Embeddings(tuple(ids), vectors)

    for name, given in (("labelled", labelled), ("exclude", exclude)):
        if isinstance(given, str):
            raise ValueError(f"{name} must be a collection of ids, got one text, {given!r}; give [{given!r}]")
    labelled, exclude = frozenset(labelled), frozenset(exclude)
    rows = _pool_rows(embeddings.ids, exclude)
    ids = embeddings.ids if rows is None else tuple(embeddings.ids[row] for row in rows)
    is_labelled = np.fromiter((identifier in labelled for identifier in ids), dtype=bool, count=len(ids))
    steering = int(is_labelled.sum())
    excluded = len(embeddings) - len(ids)
    check_budget(budget, "embedded", total=len(embeddings), labelled=steering, excluded=excluded)
    budget = int(budget)  # NumPy's whole numbers have an end of their own, which sums with them would pass
    without_vector = len(labelled - exclude) - steering
    if without_vector:
        logger.warning("%d labelled images have no embedding, so they cannot steer the choice", without_vector)
    if len(exclude) > excluded:
        logger.info(
            "%d excluded images have no embedding, so they were out of the choice anyway", len(exclude) - excluded
        )

    pool = Pool(np.asarray(embeddings.vectors), is_labelled, int(seed), rows=rows)
    ranking = chosen_strategy.function(pool, budget, **resolved)
    _check_promise(ranking, pool, budget)

    diagnostics: dict[str, Any] = {
        "pool": len(ids),
        "labelled": steering,
        "labelled_without_embedding": without_vector,
        "excluded": excluded,
        "nested": chosen_strategy.nested,
        **ranking.diagnostics,
    }
    if ranking.labels is not None:
        diagnostics["clusters"] = {ids[row]: int(label) + 1 for row, label in enumerate(ranking.labels)}
    selected = tuple(
        SelectedImage(rank, ids[pick.row], None if pick.cluster is None else pick.cluster + 1, pick.score, pick.reason)
        for rank, pick in enumerate(ranking.picks, start=1)
    )
    return Selection(selected, strategy, int(seed), resolved, diagnostics)


def check_budget(budget: int, origin: str, *, total: int, labelled: int, excluded: int) -> None:
    """Raise ValueError unless ``budget`` is a whole number from 1 to the images left of ``total``.

    Args:
        origin: what the total counts, such as ``"embedded"``.
    """
    left = total - labelled - excluded
    if left < 1:
        raise ValueError(
            f"budget must be a number of images that are left to choose from, and none is: {total} {origin}, "
            f"{labelled} of them labelled already, {excluded} excluded"
        )
    whole = isinstance(budget, (int, np.integer)) and not isinstance(budget, bool)
    if not whole or not 1 <= budget <= left:
        raise ValueError(
            f"budget must be a whole number from 1 to {left}, the images left to choose from, got {budget!r} "
            f"({total} {origin}, {labelled} of them labelled already, {excluded} excluded)"
        )


def _pool_rows(ids: Sequence[str], exclude: Collection[str]) -> NDArray[np.intp] | None:
    """Rows of the images that are not excluded, sorted by id; None where that is every row as it stands."""
    if not exclude and all(map(operator.lt, ids, itertools.islice(ids, 1, None))):
        return None
    kept = (row for row, identifier in enumerate(ids) if identifier not in exclude)
    return np.fromiter(sorted(kept, key=ids.__getitem__), dtype=np.intp)


def _check_promise(ranking: Ranking, pool: Pool, budget: int) -> None:
    rows = [pick.row for pick in ranking.picks]
    assert len(rows) == budget == len(set(rows)), "a strategy must give as many different rows as the budget"
    assert not pool.labelled[rows].any(), "a strategy must not give a row that is labelled"
    assert all(np.isfinite(pick.score) for pick in ranking.picks), "a strategy must give finite scores"
