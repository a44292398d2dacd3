"""Figures and pixels as ``data:`` addresses, so that a page carries its pictures inside itself."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bundle.report.overlays import to_rgb

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RASTER_DPI = 200  # of the parts of a figure that are pixels: twice the 100 px an inch at which the page shows it


def figure_uri(figure: Figure) -> str:
    """The figure as SVG; the same figure gives the same bytes, and its letters are outlines that need no font."""
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "coldstart", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", dpi=RASTER_DPI, metadata={"Date": None, "Creator": None})
    return _uri(buffer.getvalue(), "image/svg+xml")


def thumbnail_uri(pixels: np.ndarray, *, side: int = 208, quality: int = 82) -> str:
    """A picture as JPEG, made smaller until its longer side has at most ``side`` pixels, its proportions kept.

    Args:
        pixels: (H, W), (H, W, 1) or (H, W, 3); floats in [0, 1] or uint8.
        side: pixels; 208 is twice what a montage shows, for screens of double density.
        quality: of the JPEG, 1 to 95; outlines of one pixel want 90.
    """
    from PIL import Image

    picture = Image.fromarray(to_rgb(pixels))
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    # Without chroma subsampling, or a yellow line of one pixel turns grey.
    picture.save(buffer, "JPEG", quality=quality, optimize=True, subsampling=0 if quality >= 90 else 2)
    return _uri(buffer.getvalue(), "image/jpeg")


def read_picture(path: Path) -> np.ndarray:
    """A PNG or JPEG of ours (an overlay, say) as (H, W, 3) uint8."""
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def _uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
