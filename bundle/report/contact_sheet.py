"""Many images in one picture, small and numbered, to see at a glance what a folder holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from bundle.report.overlays import to_rgb

SIDE = 128  # pixels; the organ can be told, a face or a date hardly
CAPTION = 16  # pixels below each image, for one line of the built-in font
COLUMNS = 8
GROUND = (32, 32, 32)
EMPTY = (96, 96, 96)


def contact_sheet(tiles: Iterable[tuple[str, np.ndarray | None]]) -> Image.Image:
    """Images in rows of eight, each with its caption below.

    Args:
        tiles: caption, and (H, W, C) or (H, W) floats in [0, 1]; None draws a grey field.
    """
    drawn = [(caption, _thumbnail(pixels)) for caption, pixels in tiles]
    rows = max(1, -(-len(drawn) // COLUMNS))
    sheet = Image.new("RGB", (COLUMNS * SIDE, rows * (SIDE + CAPTION)), GROUND)
    pen = ImageDraw.Draw(sheet)
    for place, (caption, image) in enumerate(drawn):
        left, top = place % COLUMNS * SIDE, place // COLUMNS * (SIDE + CAPTION)
        sheet.paste(image, (left + (SIDE - image.width) // 2, top + (SIDE - image.height) // 2))
        pen.text((left + 2, top + SIDE + 2), caption, fill=(230, 230, 230))
    return sheet


def spread(count: int, most: int) -> Sequence[int]:
    """``most`` places evenly over ``count``, the first and the last among them; all where there are fewer."""
    return [int(place) for place in np.unique(np.linspace(0, count - 1, min(most, count)).round())] if count else []


def _thumbnail(pixels: np.ndarray | None) -> Image.Image:
    if pixels is None:
        return Image.new("RGB", (SIDE - 4, SIDE - 4), EMPTY)
    image = Image.fromarray(to_rgb(pixels))
    image.thumbnail((SIDE - 4, SIDE - 4))
    return image
