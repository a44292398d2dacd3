"""Skin tone of a dermoscopic image by the individual typology angle (ITA)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

# Lower bounds in degrees (Chardon et al., International Journal of Cosmetic Science 1991; Del Bino et al. 2006).
TONES = (("very light", 55.0), ("light", 41.0), ("intermediate", 28.0), ("tan", 10.0), ("brown", -30.0))
DARKEST = "dark"
VIGNETTE = 20.0  # L* below which a pixel is the dark border of the dermatoscope, hair or ink, and no skin
LEAST = 100  # pixels of skin for a median that is worth something

# Linear sRGB to XYZ for D65 (IEC 61966-2-1), and that white.
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = _TO_XYZ.sum(axis=1)


def lab(rgb: NDArray[np.floating]) -> NDArray[np.float64]:
    """sRGB in [0, 1], (..., 3), to CIE L*a*b* for D65: L* 0 to 100, a* and b* about -128 to 127."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    ratio = linear @ _TO_XYZ.T / _WHITE
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def typology_angle(rgb: NDArray[np.floating], lesion: NDArray[np.bool_]) -> float:
    """Median ITA of the skin around a lesion in degrees, -90 to 90; NaN where too little skin is seen.

    ITA = arctan((L* - 50) / b*), Chardon et al. 1991. Dermatoscopes are not calibrated for colour, so the angle orders
    images within a set and is no measurement of a person.

    Args:
        rgb: (..., 3) in [0, 1].
        lesion: (...) true where there is no bare skin.
    """
    colours = lab(rgb[~lesion])
    skin = colours[colours[:, 0] > VIGNETTE]
    if len(skin) < LEAST:
        return math.nan
    return float(np.degrees(np.median(np.arctan2(skin[:, 0] - 50, np.maximum(skin[:, 2], 1e-6)))))


def tone(angle: float) -> str:
    """The name of an angle, from ``very light`` to ``dark``; ``unknown`` for NaN."""
    if math.isnan(angle):
        return "unknown"
    return next((name for name, bound in TONES if angle > bound), DARKEST)
