"""What every criterion of uncertainty shares: the signature, the registry, and ``score``, which keeps the promises.

A criterion is one function from a model's opinions on an image to a number, with its options keyword-only::

    @criterion("entropy", opinions="single", summary="mean entropy of the pixels", good_for="a first look", paper="-")
    def entropy(opinions: Opinions) -> float:
        return float(pixel_entropy(opinions.mean(axis=0)).mean())

Opinions are probabilities: what the network says of the image once, by each of its heads, in several passes with
dropout, of several views, or what several networks say. Listing the module in ``bundle/selection/__init__.py``
registers the criterion, and the contract suite (tests/selection/test_criteria.py) then tests it with all the others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.likeliest import likeliest_class
from bundle.selection.registration import find_named, keyword_options, resolve_options

ROUNDED = 0.01  # bf16 holds a probability to 0.004, and a pixel's are summed

Opinions = NDArray[np.float32]
"""(P, classes, W, H): P times the probabilities of all classes, background first, which sum to 1 at every pixel."""

KINDS = {
    "single": "one pass",
    "heads": "the main head first, then those at 1/2 and 1/4 scale, of one pass",
    "dropout": "passes that differ by dropout",
    "views": "passes on views, the image itself first",
    "ensemble": "one pass of each of several models",
}


@dataclasses.dataclass(frozen=True)
class Criterion:
    """A registered criterion.

    Attributes:
        name: by which it is asked for.
        opinions: what it looks at, one of ``KINDS``.
        count: opinions an image where that can be chosen, that is for dropout and views; else None.
        summary: what is measured, one phrase for a table.
        good_for: when to take it, one phrase for a table.
        paper: where it comes from.
        options: name to default.
        function: the implementation.
    """

    name: str
    opinions: str
    count: int | None
    summary: str
    good_for: str
    paper: str
    options: Mapping[str, Any]
    function: Callable[..., float]

    def resolve(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The defaults with ``given`` over them. Raises ValueError for a name that is no option."""
        return resolve_options(self.options, given, f"criterion {self.name!r}")

    def passes(self, given: int | None) -> int | None:
        """Opinions an image: as many as ``given``, or the criterion's own number.

        Raises:
            ValueError: the number cannot be chosen, or one alone would have nothing to differ from.
        """
        if given is None:
            return self.count
        if self.count is None:
            raise ValueError(f"criterion {self.name!r} takes what there is, so it has no number of passes; got {given}")
        if given < 2:
            raise ValueError(f"passes must be 2 or more to differ from each other, got {given}")
        return given


_REGISTRY: dict[str, Criterion] = {}


def criterion(
    name: str, *, opinions: str, summary: str, good_for: str, paper: str, count: int | None = None
) -> Callable[[Callable[..., float]], Callable[..., float]]:
    """Register a function ``(opinions, *, option=default, ...) -> number in [0, 1]`` as the criterion ``name``.

    The arguments are those of :class:`Criterion`.
    """

    def register(function: Callable[..., float]) -> Callable[..., float]:
        assert name not in _REGISTRY, f"two criteria are called {name!r}"
        assert opinions in KINDS, f"opinions of {name!r} must be one of {', '.join(KINDS)}"
        options = keyword_options(function, name)
        _REGISTRY[name] = Criterion(name, opinions, count, summary, good_for, paper, options, function)
        return function

    return register


def available_criteria() -> dict[str, Criterion]:
    """Every registered criterion by its name, in alphabetical order."""
    return dict(sorted(_REGISTRY.items()))


def find_criterion(name: str) -> Criterion:
    """The criterion called ``name``. Raises ValueError where there is none."""
    return find_named(_REGISTRY, name, "criterion")


def score(opinions: Opinions, criterion: str, **options: Any) -> float:
    """How uncertain a model is of one image, 0 to 2; highest is most uncertain.

    The criterion's number, 0 to 1; and 1 more where nothing but background was found. A lesion that was missed leaves
    heads and passes in full agreement, so a criterion alone would take it for the surest of all.

    Args:
        opinions: (P, classes, W, H) probabilities of the kind that the criterion looks at, without padding.
        criterion: name out of ``available_criteria()``.
        options: of the criterion.

    Raises:
        ValueError: an unknown criterion or option, or opinions of another shape or kind.
    """
    chosen = find_criterion(criterion)
    resolved = chosen.resolve(options)
    check_opinions(opinions, chosen.opinions)
    number = chosen.function(opinions, **resolved)
    assert -1e-6 <= number <= 1 + 1e-6, f"the criterion {criterion!r} must give 0 to 1, got {number}"
    return min(max(number, 0.0), 1.0) + (not found_anything(opinions, chosen.opinions))


def check_opinions(opinions: Opinions, kind: str) -> None:
    """Raise ValueError unless these are probabilities (P, classes, W, H), of two classes at least.

    Every one is from 0 to 1 and those of a pixel sum to 1, within what half precision rounds; and there are two
    opinions at least of every ``kind`` but ``single``, since one has nothing to differ from.
    """
    if opinions.ndim != 4 or opinions.shape[1] < 2 or 0 in opinions.shape:
        raise ValueError(f"opinions must be (P, classes, W, H) with a foreground class, got {opinions.shape}")
    if not np.isfinite(opinions).all():
        raise ValueError("opinions must be finite probabilities; the network gives NaN or infinite logits")
    least, greatest = float(opinions.min()), float(opinions.max())
    if least < 0 or greatest > 1 + ROUNDED:
        raise ValueError(
            f"opinions must be probabilities from 0 to 1, got {least:g} to {greatest:g}; take the softmax of logits"
        )
    sums = opinions.sum(axis=1, dtype=np.float32)
    if np.abs(sums - 1).max() > ROUNDED:
        raise ValueError(
            f"opinions must sum to 1 over the classes, background included, got {sums.min():g} to {sums.max():g}; take "
            f"the softmax of logits, or add the background's plane"
        )
    if kind != "single" and len(opinions) < 2:
        raise ValueError(f"opinions of the kind {kind!r} must be two at least to differ, got {len(opinions)}")


def consensus(opinions: Opinions, kind: str) -> NDArray[np.float32]:
    """(classes, W, H): what is predicted. Of heads that is the main one, which inference takes; else the mean."""
    return opinions[0] if kind == "heads" else opinions.mean(axis=0)


def found_anything(opinions: Opinions, kind: str) -> bool:
    """Whether any pixel of the prediction is foreground."""
    return bool(likeliest_class(consensus(opinions, kind)).any())
