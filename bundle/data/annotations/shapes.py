"""Outlines and run lengths as pixels.

Coordinates are those of CVAT and COCO: x to the right, y down, the first pixel's upper left corner at (0, 0), so that
the centre of the pixel in column c and row r is at (c + 0.5, r + 0.5).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

Size = tuple[int, int]  # rows, columns


@dataclasses.dataclass(frozen=True)
class Shape:
    """An object that someone has drawn.

    Attributes:
        index: class index to draw it with; 0 erases what lies below.
        cover: its pixels, (H, W) bool, on a picture of the size given.
    """

    index: int
    cover: Callable[[Size], np.ndarray]


def draw_shapes(shapes: Sequence[Shape], size: Size) -> np.ndarray:
    """(H, W) uint8 class indices; of shapes that overlap the later one is on top."""
    mask = np.zeros(size, dtype=np.uint8)
    for shape in shapes:
        mask[shape.cover(size)] = shape.index
    return mask


def polygon_pixels(points: Sequence[tuple[float, float]] | np.ndarray, size: Size) -> np.ndarray:
    """Pixels whose centre lies inside a polygon, by the even-odd rule; what reaches beyond the picture is cut off.

    Two polygons that share an edge share no pixel and leave none out between them.

    Args:
        points: (N, 2) x and y of the corners; the last is joined to the first.
        size: (H, W) of the picture.

    Returns:
        (H, W) bool.

    Raises:
        ValueError: fewer than three corners, or a coordinate that is no finite number.
    """
    corners = np.asarray(points, dtype=float)
    if corners.ndim != 2 or corners.shape[-1] != 2 or len(corners) < 3 or not np.isfinite(corners).all():
        raise ValueError(f"a polygon must have three corners or more with finite x and y, got shape {corners.shape}")
    height, width = size
    # One more column takes the crossings beyond the right edge.
    crossings = np.zeros((height, width + 1), dtype=np.int64)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        low, high = np.clip(np.ceil(np.sort([y0, y1]) - 0.5), 0, height).astype(int)
        rows = np.arange(low, high)  # whose centre line the edge crosses, its lower end left out
        if rows.size:
            x = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
            columns = np.clip(np.ceil(x - 0.5), 0, width).astype(int)  # the first centre at or right of the crossing
            crossings[rows, columns] += 1
    return (np.cumsum(crossings, axis=1)[:, :width] % 2).astype(bool)


def ellipse_outline(
    centre: tuple[float, float], radii: tuple[float, float], degrees: float, corners: int = 360
) -> np.ndarray:
    """(corners, 2) points on an ellipse that is turned clockwise on the screen.

    With 360 corners the outline is at most 4e-5 of a radius inside the ellipse: below a pixel for any picture.
    """
    t = np.linspace(0.0, 2.0 * np.pi, corners, endpoint=False)
    x, y, turn = radii[0] * np.cos(t), radii[1] * np.sin(t), np.deg2rad(degrees)
    return np.stack(
        [centre[0] + x * np.cos(turn) - y * np.sin(turn), centre[1] + x * np.sin(turn) + y * np.cos(turn)], axis=1
    )


def run_length_pixels(counts: Sequence[int], size: Size, *, by_column: bool = False) -> np.ndarray:
    """Pixels of a run-length code: runs of background and object in turn, background first.

    Args:
        counts: lengths of the runs.
        size: (H, W) of what is coded.
        by_column: runs go down the columns, as in COCO, instead of along the rows, as in CVAT.

    Returns:
        (H, W) bool.

    Raises:
        ValueError: a negative run, or runs that do not fill the size.
    """
    runs = np.asarray(counts, dtype=np.int64)
    height, width = size
    if runs.ndim != 1 or (runs < 0).any() or int(runs.sum()) != height * width:
        raise ValueError(
            f"run lengths must sum to {width} x {height} = {width * height} pixels, got {len(runs)} runs that sum to "
            f"{int(runs.sum())}"
        )
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(width, height).T if by_column else flat.reshape(height, width)


def place_pixels(part: np.ndarray, left: int, top: int, size: Size) -> np.ndarray:
    """A part (h, w) bool of the picture with its upper left pixel at column ``left`` and row ``top``, as (H, W) bool.

    Raises:
        ValueError: it does not lie within the picture.
    """
    height, width = part.shape
    if left < 0 or top < 0 or left + width > size[1] or top + height > size[0]:
        raise ValueError(
            f"a mask of {width} x {height} at column {left}, row {top} must lie within its image of "
            f"{size[1]} x {size[0]}"
        )
    whole = np.zeros(size, dtype=bool)
    whole[top : top + height, left : left + width] = part
    return whole
