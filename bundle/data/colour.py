"""Colour of DICOM images as RGB (PS3.3 C.7.6.3.1.2): RGB, YBR, and palettes."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset

try:
    from pydicom.pixels import apply_color_lut, convert_color_space
except ImportError:  # pydicom 2
    from pydicom.pixel_data_handlers.util import apply_color_lut, convert_color_space  # type: ignore[no-redef]

PALETTE = "PALETTE COLOR"
PALETTE_TAGS = [
    "PaletteColorLookupTableUID",
    *(f"{colour}PaletteColorLookupTableDescriptor" for colour in ("Red", "Green", "Blue")),
    *(f"{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")),
]


def is_colour(stored: np.ndarray, dataset: Dataset) -> bool:
    """Whether decoded pixels, (H, W) or (H, W, samples), have a colour."""
    return stored.ndim == 3 or dataset.get("PhotometricInterpretation") == PALETTE


def to_rgb(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Decoded pixels in colour as (H, W, 3) float32 in [0, 1].

    Args:
        stored: (H, W, 3), the planes behind each other whatever their order in the file; (H, W) indices of a palette.
        dataset: the tags of the image.
    """
    interpretation = str(dataset.get("PhotometricInterpretation") or "RGB")
    if interpretation == PALETTE:
        coloured = apply_color_lut(stored, dataset)[..., :3]
        # Some 16-bit tables are filled with 8 bits.
        white = 255 if coloured.max() <= 255 else 65535
        return coloured.astype(np.float32) / np.float32(white)
    if interpretation.startswith("YBR_FULL") and not hasattr(dataset, "pixel_array_options"):
        stored = convert_color_space(stored, "YBR_FULL", "RGB")  # pydicom 3 has done so
    white = (1 << int(dataset.get("BitsStored") or 8)) - 1
    return stored[..., :3].astype(np.float32) / np.float32(white)
