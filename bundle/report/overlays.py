"""Outlines of masks drawn on an image, so that one sees where truth and prediction part."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

# Sky blue and yellow of Okabe and Ito (Color Universal Design, 2008): apart for every kind of colour vision, and
# neither is a colour of skin, of lesions or of a grey radiograph.
TRUTH_COLOUR = (86, 180, 233)
PREDICTION_COLOUR = (240, 228, 66)


def outline(mask: np.ndarray, *, width: int = 1) -> np.ndarray:
    """Pixels along the inner edge of every label, also where two labels touch and where one meets the image's border.

    Args:
        mask: (H, W) label map of whole numbers or booleans, 0 is background.
        width: thickness of the line in pixels, at least 1. What is thinner than two lines is filled.

    Returns:
        (H, W) bool. Every such pixel has a label itself: the line lies inside, so it never enlarges a structure.

    Raises:
        ValueError: the mask is not a two-dimensional map of whole numbers.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2 or mask.dtype.kind not in "bui":
        raise ValueError(f"a mask must be (H, W) of whole numbers or booleans, got {mask.shape} of {mask.dtype}")
    if width < 1:
        raise ValueError(f"width must be at least 1 pixel, got {width}")
    line = np.zeros(mask.shape, dtype=bool)
    for label in np.unique(mask[mask != 0]):
        region = mask == label
        line |= region & ~ndimage.binary_erosion(region, iterations=width)
    return line


def overlay(image: np.ndarray, truth: np.ndarray | None, prediction: np.ndarray | None) -> np.ndarray:
    """Draw the outlines of truth (sky blue) and of prediction (yellow, half as wide, on top) on an image.

    Where the two agree, the yellow line runs along the outer half of the blue one and both stay visible. The lines are
    two pixels and one for every 256 of the longer side, so that they survive when a large picture is shown small.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3); floats in [0, 1] or uint8.
        truth: (H, W) label map, 0 is background, or None to leave it out.
        prediction: (H, W) label map, 0 is background, or None to leave it out.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: a mask has another height or width than the image, or the image another number of channels.
    """
    drawn = to_rgb(image)
    unit = max(1, round(max(drawn.shape[:2]) / 256))
    for name, mask, colour, width in (
        ("truth", truth, TRUTH_COLOUR, 2 * unit),
        ("prediction", prediction, PREDICTION_COLOUR, unit),
    ):
        if mask is None:
            continue
        if np.shape(mask) != drawn.shape[:2]:
            raise ValueError(f"{name} must be as high and wide as the image, {drawn.shape[:2]}, got {np.shape(mask)}")
        drawn[outline(mask, width=width)] = colour
    return drawn


def to_rgb(image: np.ndarray) -> np.ndarray:
    """A fresh (H, W, 3) uint8 picture of a grey or RGB image of floats in [0, 1] or of uint8; NaN becomes black."""
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3):
        raise ValueError(f"an image must be (H, W), (H, W, 1) or (H, W, 3), got {image.shape}")
    if image.dtype != np.uint8:
        if image.dtype.kind != "f":
            raise ValueError(f"an image must be uint8 or floats in [0, 1], got {image.dtype}")
        image = np.rint(np.clip(np.nan_to_num(image), 0.0, 1.0) * 255.0).astype(np.uint8)
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image.copy()
