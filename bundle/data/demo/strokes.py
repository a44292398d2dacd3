"""Thin things with smooth edges: hairs, ticks, vessels, letters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

OVERSAMPLE = 3  # a line a pixel wide gets nine grey levels; more costs time and is not seen

# Letters as polylines in a box of width 1 and height 1.5, x to the right and y down; no font is needed.
GLYPHS: dict[str, list[list[tuple[float, float]]]] = {
    "L": [[(0, 0), (0, 1.5), (0.9, 1.5)]],
    "R": [[(0, 1.5), (0, 0), (0.7, 0), (0.95, 0.25), (0.95, 0.5), (0.7, 0.75), (0, 0.75)], [(0.4, 0.75), (1, 1.5)]],
    "P": [[(0, 1.5), (0, 0), (0.7, 0), (0.95, 0.25), (0.95, 0.5), (0.7, 0.75), (0, 0.75)]],
    "A": [[(0, 1.5), (0.5, 0), (1, 1.5)], [(0.2, 1.0), (0.8, 1.0)]],
    "m": [[(0, 1.5), (0, 0.6)], [(0, 0.8), (0.25, 0.6), (0.5, 0.8), (0.5, 1.5)], [(0.5, 0.8), (0.8, 0.6), (1, 1.5)]],
}


class Stroke(NamedTuple):
    """A polyline.

    Attributes:
        points: (n, 2) x and y in pixels from the top left corner.
        width: pixels.
        strength: coverage in the middle of the line, 0 to 1.
    """

    points: np.ndarray
    width: float
    strength: float = 1.0


def coverage(shape: tuple[int, int], strokes: Iterable[Stroke]) -> np.ndarray:
    """How far each pixel is covered by strokes, the later over the earlier: (H, W) float32 in [0, 1]."""
    canvas = Image.new("L", (shape[1] * OVERSAMPLE, shape[0] * OVERSAMPLE))
    draw = ImageDraw.Draw(canvas)
    for points, width, strength in strokes:
        line = np.asarray(points, dtype=np.float32) * OVERSAMPLE
        draw.line(line.ravel().tolist(), fill=round(255 * strength), width=max(1, round(width * OVERSAMPLE)))
    return np.asarray(canvas.reduce(OVERSAMPLE), dtype=np.float32) / 255


def text(letters: str, *, corner: tuple[float, float], height: float, width: float, angle: float = 0.0) -> list[Stroke]:
    """Strokes of ``letters`` (those of ``GLYPHS``).

    Args:
        letters: what to write.
        corner: x and y of the top left corner, pixels.
        height: of a capital, pixels.
        width: of the line, pixels.
        angle: of the base line, degrees clockwise.
    """
    turn, scale = np.deg2rad(angle), height / 1.5
    along, down = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    return [
        Stroke(np.array([np.add(corner, scale * ((x + 1.4 * i) * along + y * down)) for x, y in line]), width)
        for i, letter in enumerate(letters)
        for line in GLYPHS[letter]
    ]
