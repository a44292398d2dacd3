"""Opinions to score: drawn by hypothesis to be awkward, and by hand to be clear."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

COUNT = {"single": 1, "heads": 3}  # of the other kinds there may be any number


@st.composite
def awkward_opinions(draw: st.DrawFn, kind: str) -> np.ndarray:
    """(P, classes, W, H) probabilities of 1 to 6 pixels a side: soft ones, sure ones, and mixtures, often all equal."""
    count = COUNT.get(kind) or draw(st.integers(2, 4))
    classes, w, h = draw(st.integers(2, 4)), draw(st.integers(1, 6)), draw(st.integers(1, 6))
    sharpness = draw(st.sampled_from([0.0, 1.0, 30.0]))
    same = draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    logits = sharpness * rng.normal(size=(1 if same else count, classes, w, h))
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    return np.repeat(chances, count, axis=0)[:count].astype(np.float32)


def sure_of(*masks: np.ndarray, classes: int = 2, certainty: float = 1.0) -> np.ndarray:
    """Opinions (P, classes, W, H) that give the classes of each (W, H) mask the probability ``certainty``."""
    rest = (1 - certainty) / (classes - 1)
    return np.stack(
        [np.stack([np.where(m == c, certainty, rest) for c in range(classes)]) for m in map(np.asarray, masks)]
    ).astype(np.float32)


def disc(radius: float, *, side: int = 24, x: float = 12, y: float = 12) -> np.ndarray:
    """A (side, side) mask with a disc of 1 about (x, y)."""
    xs, ys = np.mgrid[:side, :side]
    return ((xs - x) ** 2 + (ys - y) ** 2 < radius**2).astype(int)
