"""Which images a round asks for: the uncertain ones, and not all of one kind."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from bundle.embedding import Embeddings
from bundle.run.seeds import numpy_stream
from bundle.selection.options import require_choice, require_number, require_whole
from bundle.selection.quota import seat_sequence
from bundle.selection.registration import resolve_options
from bundle.selection.strategy import SelectedImage, Selection, check_budget, select
from bundle.selection.uncertainty import Uncertainties

DIVERSITIES = {
    "none": "the highest scores",
    "coverage": "of the highest scores those that cover the others best",
    "noise": "the highest scores with noise that fades over the rounds, from every band of predicted size",
}
OPTIONS: dict[str, dict[str, Any]] = {
    "none": {},
    # Half of those looked at are taken where 2, all by chance where the pool: 5 leaves scores and coverage a say each.
    "coverage": {"shortlist": 5, "strategy": "coldstart"},
    "noise": {"beta_start": 1.0, "beta_end": 100.0, "bands": 3},
}


def query(
    uncertainties: Uncertainties,
    budget: int,
    *,
    diversity: str = "none",
    embeddings: Embeddings | None = None,
    labelled: Collection[str] = (),
    exclude: Collection[str] = (),
    progress: float = 0.0,
    seed: int = 0,
    **options: Any,
) -> Selection:
    """Exactly ``budget`` images to ask the expert for, none of them labelled or excluded.

    Args:
        uncertainties: of every image that may be asked for, and of any others.
        budget: number of images, from 1 to those that are left.
        diversity: one of ``DIVERSITIES``. ``coverage`` takes the ``shortlist`` x budget most uncertain images and
            selects among them by a ``strategy`` of ``available_strategies()``, which sees what is labelled (after
            Zhdanov 2019, arXiv 1901.05954). ``noise`` is ClaSP PE's (Lüth et al. 2026, TMLR, arXiv 2601.13677) for
            whole images: a Gumbel variate of scale 1 / beta is added to the logarithm of every score, beta growing from
            ``beta_start`` to ``beta_end`` geometrically; and seats go round ``bands`` strata in turn. Theirs are the
            predicted classes of patches; an image shows all classes, so here they are bands of predicted foreground
            area with as many images each.
        embeddings: needed for ``coverage``.
        labelled: ids that have a label.
        exclude: ids that are neither asked for nor looked at.
        progress: share of the rounds that are over, 0 to 1; noise fades with it.
        seed: of the noise and the strategy.
        options: of the diversity.

    Returns:
        The selection, rank 1 first. Its score is that of the criterion; under ``coverage`` too.

    Raises:
        ValueError: the budget is not 1 to the number of images left, an unknown diversity or option, or one out of
            range; no embeddings for ``coverage``.
    """
    resolved = resolve_diversity(diversity, options)
    aside, done = set(exclude), set(labelled) - set(exclude)
    left = uncertainties.without(aside | done)
    seen_labelled, excluded = len(done & set(uncertainties)), len(aside & set(uncertainties))
    check_budget(budget, "scored", total=len(uncertainties), labelled=seen_labelled, excluded=excluded)

    if diversity == "none":
        ids, reason = left.ranked()[:budget], "most uncertain"
    elif diversity == "coverage":
        ids = _covering(left, budget, embeddings, done, seed=seed, **resolved)
        reason = "uncertain, and covers other uncertain images"
    else:
        ids = _noisy(left, budget, progress, seed=seed, **resolved)
        reason = "uncertain, with noise, in its band of predicted size"
    rows = tuple(
        SelectedImage(rank, name, None, left[name].score, _reason(left[name].empty, reason))
        for rank, name in enumerate(ids, start=1)
    )
    diagnostics = {
        "pool": len(left) + seen_labelled,
        "labelled": seen_labelled,
        "excluded": excluded,
        "nested": diversity == "none",
        "empty_predictions": sum(row.empty for row in left.values()),
    }
    return Selection(rows, diversity, seed, resolved, diagnostics)


def resolve_diversity(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a diversity, those ``given`` over its defaults.

    Raises:
        ValueError: an unknown diversity or option.
    """
    require_choice("diversity", name, list(DIVERSITIES))
    return resolve_options(OPTIONS[name], given, f"diversity {name!r}")


def _reason(empty: bool, reason: str) -> str:
    return f"{reason}; nothing was found on it" if empty else reason


def _covering(
    left: Uncertainties,
    budget: int,
    embeddings: Embeddings | None,
    labelled: Collection[str],
    *,
    shortlist: int,
    strategy: str,
    seed: int,
) -> list[str]:
    """Of the most uncertain those that a strategy takes; what has no embedding cannot be asked for."""
    require_whole("shortlist", shortlist, least=1)
    if embeddings is None:
        raise ValueError("diversity 'coverage' needs the embeddings of the pool, got none: give --embeddings")
    embedded = set(embeddings.ids)
    uncertain = [name for name in left.ranked() if name in embedded][: shortlist * budget]
    steering = sorted(set(labelled) & embedded)
    among = embeddings.subset(sorted([*uncertain, *steering]))
    return list(select(among, strategy=strategy, budget=budget, seed=seed, labelled=steering).ids)


def _noisy(
    left: Uncertainties,
    budget: int,
    progress: float,
    *,
    beta_start: float,
    beta_end: float,
    bands: int,
    seed: int,
) -> list[str]:
    """The highest noisy scores of every band in turn."""
    require_number("beta_start", beta_start, above=True)
    require_number("beta_end", beta_end, above=True)
    require_number("progress", progress, most=1)
    require_whole("bands", bands, least=1)
    beta = math.exp((1 - progress) * math.log(beta_start) + progress * math.log(beta_end))
    names = list(left)
    scores = np.array([row.score for row in left.values()])
    noise = numpy_stream(seed, "selection", "power noise").gumbel(0, 1 / beta, len(names))
    noisy = np.log(np.maximum(scores, np.finfo(float).tiny)) + noise
    by_area = sorted(range(len(names)), key=lambda row: (left[names[row]].foreground, names[row]))
    strata = [list(part) for part in np.array_split(by_area, min(bands, len(names)))]
    queues = [sorted(part, key=lambda row: (-noisy[row], names[row])) for part in strata]
    seats = seat_sequence([len(part) for part in queues], budget, quota="equal")
    return [names[queues[band].pop(0)] for band in seats]
