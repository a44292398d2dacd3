"""Random fields with a given spectrum: the texture of skin, pigment and lung.

White noise is filtered in the frequency domain, so a field costs two FFTs whatever its grain. The fields are periodic,
which no one sees where they only modulate something else.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy.fft


def fractal_noise(
    rng: np.random.Generator, shape: tuple[int, int], *, slope: float = 2.0, coarsest: float | None = None
) -> np.ndarray:
    """Self-similar noise: the amplitude of frequency f falls as f to the power ``-slope``.

    Args:
        rng: source of the noise.
        shape: rows and columns, pixels.
        slope: 0 is white, 1 is cloudy, 2 and more are smooth hills.
        coarsest: wavelength in pixels above which the spectrum is flat; None is the longer side.

    Returns:
        (H, W) float32 with mean 0 and standard deviation 1.
    """
    frequency = _radial_frequency(shape)
    return _filtered(rng, shape, np.maximum(frequency, 1 / (coarsest or max(shape))) ** -slope)


def band_noise(
    rng: np.random.Generator, shape: tuple[int, int], *, wavelength: float, spread: float = 0.25
) -> np.ndarray:
    """Noise of one grain: spots and gaps about half a ``wavelength`` wide.

    A high threshold leaves round islands, one near zero a net with round holes.

    Args:
        rng: source of the noise.
        shape: rows and columns, pixels.
        wavelength: pixels, at least 2 (shorter ones cannot be sampled and are taken as 2).
        spread: standard deviation of log frequency; small is regular.

    Returns:
        (H, W) float32 with mean 0 and standard deviation 1.
    """
    frequency = np.maximum(_radial_frequency(shape), 1e-6)
    return _filtered(rng, shape, np.exp(-((np.log(frequency * max(wavelength, 2.0)) / spread) ** 2) / 2))


def _filtered(rng: np.random.Generator, shape: tuple[int, int], gain: np.ndarray) -> np.ndarray:
    """White noise through ``gain`` (H, W // 2 + 1), standardised."""
    spectrum = scipy.fft.rfft2(rng.standard_normal(shape, dtype=np.float32))
    spectrum *= gain
    spectrum[0, 0] = 0.0
    field = scipy.fft.irfft2(spectrum, s=shape)
    return (field / max(float(field.std()), 1e-12)).astype(np.float32)


@lru_cache(maxsize=32)
def _radial_frequency(shape: tuple[int, int]) -> np.ndarray:
    """(H, W // 2 + 1) float32 cycles a pixel, in the layout of ``rfft2``."""
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]).astype(np.float32)
    frequency.setflags(write=False)  # shared by all callers
    return frequency
