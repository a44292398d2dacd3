"""Masks: one class index a pixel, whatever way the annotation tool stored it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from bundle.data import nifti, nrrd
from bundle.data.annotations.names import LabelNames
from bundle.data.pictures import FORMATS, UnreadableImage, open_picture, upright
from bundle.run.atomic import atomic_file

LOSSY_SUFFIXES = (".jpg", ".jpeg", ".jfif")
LOSSY = "a JPEG blurs class values at every edge; export the mask anew as PNG, since a converted JPEG keeps the blur"
MOST_VALUES = 8  # that a drawn mask of one label has, a value a structure; scaling, blurring and JPEG bring dozens


def read_mask(path: str | os.PathLike[str], *, labels: Sequence[str]) -> np.ndarray:
    """Read a mask from PNG, TIFF, BMP, GIF, or NIfTI or NRRD with one plane, as it is stored.

    With one label every value but zero is foreground (0/1, 0/255, 1-bit and palette masks alike), of a few values with
    zero among them. With several, the values are class indices: 0 is background and ``labels[i]`` is ``i + 1``. A
    palette is read by its indices, and with one label by its colours where its first one is not the darkest. Colour is
    taken only where the three channels agree, or with one label. The segments of a ``.seg.nrrd`` are known by their
    names. A note on orientation (EXIF) is followed, as for images.

    Returns:
        (H, W) uint8 in 0..len(labels).

    Raises:
        UnreadableImage: absent, broken or not an image.
        ValueError: a value or a name that no label has, colour with several labels, with one label too many values or
            no background, transparency that differs from pixel to pixel, or a format that loses edges (JPEG).
    """
    return read_mask_with_place(path, labels=labels)[0]


def read_mask_with_place(
    path: str | os.PathLike[str], *, labels: Sequence[str], names: LabelNames | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """As :func:`read_mask`, with the file's affine: (4, 4), (column, row, 0) to mm in RAS, or None where it has none.

    Args:
        names: finds the class of a segment's name; the labels' own names where None.
    """
    if Path(path).suffix.lower() in LOSSY_SUFFIXES:
        raise ValueError(f"mask {path}: {LOSSY}")
    if nrrd.is_nrrd(path):
        plane = nrrd.read_plane(path)
        if plane.segments:
            return _segments_drawn(plane, names or LabelNames(labels)), plane.affine
        if len(plane.layers) != 1:
            raise UnreadableImage(path, f"{len(plane.layers)} layers without names are no mask")
        return _class_indices(path, plane.layers[0], labels), plane.affine
    if nifti.is_nifti(path):
        values, affine = nifti.read_plane(path)
        return _class_indices(path, values, labels), affine
    return _class_indices(path, _picture_values(path, labels), labels), None


def write_mask(path: str | os.PathLike[str], mask: np.ndarray, classes: int) -> Path:
    """Write (H, W) class indices as PNG, atomically; with one label the foreground is 255, so that any viewer shows it.

    Args:
        classes: number of classes, background included.
    """
    with atomic_file(path) as temporary:
        Image.fromarray(mask * np.uint8(255) if classes == 2 else mask).save(temporary)
    return Path(path)


def _class_indices(path: str | os.PathLike[str], values: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """Stored values to (H, W) uint8."""
    found = np.unique(values)
    if len(labels) == 1:
        _check_one_label(path, found)
        return (values != 0).astype(np.uint8)
    wrong = found[~np.isin(found, np.arange(len(labels) + 1))]
    if wrong.size:
        rule = ", ".join(f"{index} {name}" for index, name in enumerate(("background", *labels)))
        raise ValueError(f"mask {path} holds the value {wrong[0]:g}; with several labels only class indices: {rule}")
    return values.astype(np.uint8)


def _check_one_label(path: str | os.PathLike[str], found: np.ndarray) -> None:
    """Refuse what would come out as foreground everywhere, or with a rim, without a word."""
    told = f"mask {path} holds {len(found)} values from {found[0]:g} to {found[-1]:g}"
    if len(found) > MOST_VALUES:
        raise ValueError(f"{told}: it was scaled, blurred or is a probability; threshold it to 0 and 255 first")
    if len(found) > 1 and found[0] != 0:
        raise ValueError(f"{told}, and no background: a mask of one label has 0 where nothing is")


def _segments_drawn(plane: nrrd.Plane, names: LabelNames) -> np.ndarray:
    """(H, W) class indices of named segments; of those that overlap the later one is on top, as Slicer shows them."""
    mask = np.zeros(plane.layers.shape[1:], dtype=np.uint8)
    for segment in plane.segments:
        index = names.index(segment.name)
        if index is not None and 0 <= segment.layer < len(plane.layers):
            mask[plane.layers[segment.layer] == segment.value] = index
    return mask


def _picture_values(path: str | os.PathLike[str], labels: Sequence[str]) -> np.ndarray:
    """(H, W) stored values of a mask picture, upright."""
    image = open_picture(path, formats=(*FORMATS, "GIF"))
    if image.format == "JPEG":  # whatever its name says
        raise ValueError(f"mask {path}: {LOSSY}")
    if image.format == "GIF" and len(labels) > 1:
        raise ValueError(f"mask {path}: what writes a GIF numbers its values anew; with several labels store it as PNG")
    image = upright(image, path)[0]
    if "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        low, high = image.convert("RGBA").getchannel("A").getextrema()
        if low != high:
            raise ValueError(f"mask {path} is transparent in part, so what is background is unsure: store it opaque")
    if image.mode == "P":
        shades = np.asarray(image.convert("L"))
        indices = np.asarray(image)
        first = shades[indices == 0]
        return shades if len(labels) == 1 and first.size and first[0] > shades.min() else indices
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
