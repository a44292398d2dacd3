"""How a cost grows with the number of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def fitted_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float | None:
    """The p of ``costs`` ~ ``sizes``^p by least squares on logarithms of both; None with fewer than two sizes."""
    if len(set(sizes)) < 2:
        return None
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])
