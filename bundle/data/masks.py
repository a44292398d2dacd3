"""Masks: one class index a pixel, whatever way the annotation tool stored it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bundle.data import nifti
from bundle.data.pictures import UnreadableImage, open_picture

LOSSY_SUFFIXES = (".jpg", ".jpeg")


def read_mask(path: str | os.PathLike[str], *, labels: Sequence[str]) -> np.ndarray:
    """Read a mask from PNG, TIFF, BMP, or NIfTI with one plane.

    With one label every value but zero is foreground (0/1, 0/255, 1-bit and palette masks alike). With several, the
    values are class indices: 0 is background and ``labels[i]`` is ``i + 1``. A palette is read by its indices. Colour
    is taken only where the three channels agree, or with one label.

    Returns:
        (H, W) uint8 in 0..len(labels).

    Raises:
        UnreadableImage: absent, broken or not an image.
        ValueError: a value that no label has, colour with several labels, or a format that loses edges (JPEG).
    """
    if Path(path).suffix.lower() in LOSSY_SUFFIXES:
        raise ValueError(f"mask {path} is a JPEG, which blurs class values at every edge; store masks as PNG")
    values = nifti.read_plane(path)[0] if nifti.is_nifti(path) else _picture_values(path, labels)
    if len(labels) == 1:
        return (values != 0).astype(np.uint8)
    found = np.unique(values)
    wrong = found[~np.isin(found, np.arange(len(labels) + 1))]
    if wrong.size:
        rule = ", ".join(f"{index} {name}" for index, name in enumerate(("background", *labels)))
        raise ValueError(f"mask {path} holds the value {wrong[0]:g}; with several labels only class indices: {rule}")
    return values.astype(np.uint8)


def _picture_values(path: str | os.PathLike[str], labels: Sequence[str]) -> np.ndarray:
    """(H, W) stored values of a mask picture; alpha is ignored."""
    image = open_picture(path)
    if image.mode == "P":
        return np.asarray(image)
    values = np.asarray(image.getchannel(0) if image.mode in ("LA", "La") else image)
    if values.ndim == 2:
        return values
    if image.mode not in ("RGB", "RGBA"):
        raise UnreadableImage(path, f"a mask in colour mode {image.mode} has no clear background; store it grey")
    colour = values[..., :3]
    if len(labels) == 1:
        return colour.max(axis=-1)
    if (colour != colour[..., :1]).any():
        raise ValueError(f"mask {path} is in colour; with several labels store the class index of each pixel as grey")
    return colour[..., 0]
