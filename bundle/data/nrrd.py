"""NRRD files that hold one plane, as 3D Slicer stores a segmentation."""

from __future__ import annotations

import dataclasses
import io
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from bundle.data.pictures import MAX_PIXELS, UnreadableImage

SUFFIXES = (".seg.nrrd", ".nrrd")
_MAX_BYTES = 8 * MAX_PIXELS  # of a plane with all its layers
_TO_RAS = {"left": (0, -1), "right": (0, 1), "posterior": (1, -1), "anterior": (1, 1), "inferior": (2, -1)}
_TO_RAS |= {"superior": (2, 1)}
_SHORT = {"LPS": "left-posterior-superior", "RAS": "right-anterior-superior", "LAS": "left-anterior-superior"}


@dataclasses.dataclass(frozen=True)
class Segment:
    """A named structure of a segmentation of Slicer (``.seg.nrrd``).

    Attributes:
        name: as the person called it.
        layer: which layer holds it, from 0; structures that overlap lie in different ones.
        value: its value there.
    """

    name: str
    layer: int
    value: int


@dataclasses.dataclass(frozen=True)
class Plane:
    """What an NRRD file holds.

    Attributes:
        layers: (layers, H, W) as stored; one layer where the file has no axis for them.
        affine: (4, 4), (column, row, 0) to mm in RAS; None where the file does not tell.
        segments: in the order of their numbers; empty where the file is no segmentation of Slicer.
    """

    layers: np.ndarray
    affine: np.ndarray | None
    segments: tuple[Segment, ...]


def is_nrrd(path: str | os.PathLike[str]) -> bool:
    """Whether the name ends as NRRD files do."""
    return Path(path).name.lower().endswith(SUFFIXES)


def read_plane(path: str | os.PathLike[str]) -> Plane:
    """Read the single plane of an NRRD file, raw or gzip.

    Raises:
        UnreadableImage: no NRRD, broken, of more than one plane, or with its data in another file, which would be read
            from wherever the header says.
    """
    import nrrd  # few data sets hold any

    try:
        with Path(path).open("rb") as file:
            header: dict[str, Any] = dict(nrrd.read_header(file))
            if "data file" in header or "datafile" in header:
                raise UnreadableImage(path, "an NRRD header whose data are elsewhere; save header and data in one file")
            sizes = [int(side) for side in header["sizes"]]
            layered = len(sizes) > 2 and str((header.get("kinds") or [""])[0]) in ("list", "vector")
            plane = sizes[1:] if layered else sizes
            if len(plane) < 2 or any(side != 1 for side in plane[2:]):
                raise UnreadableImage(path, f"a single plane (W, H) or (W, H, 1) is needed, got {tuple(plane)}")
            if np.prod(sizes, dtype=object) > MAX_PIXELS:
                raise UnreadableImage(path, f"{tuple(sizes)} values are above the limit of {MAX_PIXELS}")
            values = nrrd.read_data(*_bounded(header, file))
    except UnreadableImage:
        raise
    except Exception as error:  # the library has errors of its own for each way to be broken
        raise UnreadableImage(path, f"the NRRD file cannot be read ({type(error).__name__})") from None
    if not (np.issubdtype(values.dtype, np.integer) or np.issubdtype(values.dtype, np.floating)):
        raise UnreadableImage(path, f"an NRRD of {values.dtype} holds no mask")
    layers = values.reshape(sizes[0] if layered else 1, plane[0], plane[1], order="F").transpose(0, 2, 1)
    return Plane(np.ascontiguousarray(layers), _affine(header, layered), _segments(header))


def _bounded(header: dict[str, Any], file: Any) -> tuple[dict[str, Any], io.BytesIO]:
    """Header and data without compression, of a length that no small file can blow up."""
    data = file.read(_MAX_BYTES)
    if str(header.get("encoding")).lower() in ("gzip", "gz"):
        data = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data, _MAX_BYTES)
        header = {**header, "encoding": "raw"}
    return header, io.BytesIO(data)


def _affine(header: dict[str, Any], layered: bool) -> np.ndarray | None:
    """The first two axes of the plane in RAS; None without a space of three dimensions that we know."""
    space = str(header.get("space", ""))
    words = _SHORT.get(space.upper(), space.lower()).split("-")
    directions, origin = header.get("space directions"), header.get("space origin")
    if directions is None or origin is None or len(words) != 3 or not set(words) <= set(_TO_RAS):
        return None
    axes = [np.asarray(row, dtype=float) for row in list(directions)[1 if layered else 0 :]]
    place = np.asarray(origin, dtype=float)
    if len(axes) < 2 or place.shape != (3,) or not all(a.shape == (3,) and np.isfinite(a).all() for a in axes):
        return None
    affine = np.eye(4)
    turned = np.zeros((3, 3))
    for row, word in enumerate(words):
        axis, sign = _TO_RAS[word]
        turned[axis, row] = sign
    for column, axis_vector in enumerate(axes[:3]):
        affine[:3, column] = turned @ axis_vector
    affine[:3, 3] = turned @ place
    return affine


def _segments(header: dict[str, Any]) -> tuple[Segment, ...]:
    found = []
    number = 0
    while f"Segment{number}_Name" in header or f"Segment{number}_ID" in header:
        entry = f"Segment{number}_"
        name = str(header.get(f"{entry}Name", header.get(f"{entry}ID")))
        value = int(header.get(f"{entry}LabelValue", number + 1))
        found.append(Segment(name, int(header.get(f"{entry}Layer", 0)), value))
        number += 1
    return tuple(found)
