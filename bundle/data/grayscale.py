"""The grey-scale pipeline of PS3.3 C.11 and PS3.4 N.2: from stored values to what a viewer shows.

Stored values go through the modality LUT (or rescale), then the VOI LUT (or window), then the sense of the presentation
(MONOCHROME1 is turned over once).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

_BLOCK = 1 << 17  # places that NumPy makes addresses of at a time: in the cache, where all of an image would not be
PERCENTILES = (0.5, 99.5)  # where a file has no window: leaves out burnt-in markers and dead pixels


def presented(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """What a viewer shows of grey stored values.

    Without a usable VOI LUT or window the values between two percentiles (``PERCENTILES``) are shown. Pixels marked as
    padding are left out of these and shown black.

    Args:
        stored: (H, W) as decoded, integers or floats.
        dataset: the tags of the image, those of its frame's functional groups among them.

    Returns:
        (H, W) float in [0, 1], bright bone on dark lung.

    Raises:
        ValueError: a lookup table without entries.
    """
    levels, places = _levels(stored)
    within = _within_bits(levels, dataset)
    values = _modality_values(within, dataset)
    marked = _padding(within, dataset)
    if marked.all() or (marked.any() and places is not None and not (_counts(values, places)[~marked] > 0).any()):
        marked = np.zeros_like(marked)  # where all that is there is padding, none is
    voi = _voi(values, dataset)
    # A window that misses the values shows nothing; such files exist, and their tag is the fault.
    if voi is None or _shows_nothing(voi, values, marked, places):
        shown = stretch(values, ~marked if places is None else np.where(marked, 0, _counts(values, places)))
    else:
        shown = voi.astype(np.float32)
    # Both tags say the same thing (PS3.3 C.8.11.3.1.2 wants INVERSE with MONOCHROME1): low is bright. One turn.
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1" or dataset.get("PresentationLUTShape") == "INVERSE":
        shown = 1.0 - shown
    if marked.any():
        shown = np.where(marked, np.float32(0.0), shown)
    return _spread(shown, places)


def _shows_nothing(voi: np.ndarray, values: np.ndarray, marked: np.ndarray, places: np.ndarray | None) -> bool:
    """Whether all that is no padding is shown alike although it differs."""
    if places is not None and voi[0] != voi[-1] and not marked.any():
        return False  # the least and the greatest value are there, so most files need no look at their pixels
    there = ~marked if places is None else ~marked & (_counts(values, places) > 0)
    return float(np.ptp(voi[there])) == 0 < float(np.ptp(values[there]))


def _counts(levels: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(levels,) how many pixels have each."""
    return np.bincount(places.ravel(), minlength=len(levels))


def _levels(stored: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """All values between the least and the greatest, and where each pixel is among them.

    Every step but the stretch treats equal values alike, and 16 bits hold fewer values than an image has pixels. Where
    that is not so, the pixels themselves and None.
    """
    if stored.dtype.itemsize > 2 or not np.issubdtype(stored.dtype, np.integer) or stored.size < 1 << 16:
        return stored, None
    stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    low, high = int(stored.min()), int(stored.max())
    unsigned = np.dtype(f"u{stored.dtype.itemsize}")  # in which differences of signed values are right, modulo its size
    places = stored.view(unsigned) - np.asarray(low).astype(unsigned)
    return np.arange(low, high + 1).astype(stored.dtype), places


def _spread(table: np.ndarray, places: np.ndarray | None) -> np.ndarray:
    """What the pixels have of a table over the levels."""
    if places is None:
        return table
    spread = np.empty(places.shape, dtype=table.dtype)
    into, of = spread.reshape(-1), np.ascontiguousarray(places).reshape(-1)
    for start in range(0, of.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        np.take(table, of[block], mode="clip", out=into[block])  # all are within: no check
    return spread


def _within_bits(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Only the stored bits, with their sign: older files keep overlays in the bits above."""
    if not np.issubdtype(stored.dtype, np.integer):
        return stored
    bits = int(dataset.get("BitsStored") or 8 * stored.dtype.itemsize)
    values = stored.astype(np.int64)
    if dataset.get("PixelRepresentation"):
        sign = 1 << (bits - 1)
        return ((values & ((1 << bits) - 1)) ^ sign) - sign
    return values & ((1 << bits) - 1)


def _padding(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """(H, W) bool, the pixels that PS3.3 C.7.5.1.1.2 calls padding; none where that would be all of them."""
    first = dataset.get("PixelPaddingValue")
    if not isinstance(first, int):
        return np.zeros(stored.shape, dtype=bool)
    last = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted(_signed(value, dataset) for value in (first, last if isinstance(last, int) else first))
    padding = (stored >= low) & (stored <= high)
    return np.zeros_like(padding) if padding.all() else padding


def _signed(value: int, dataset: Dataset) -> int:
    """A 16-bit tag of the kind "US or SS" in the sign of the pixels; writers do not always agree on it."""
    value %= 65536
    return value - 65536 if value >= 32768 and dataset.get("PixelRepresentation") else value


def _modality_values(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    if dataset.get("ModalityLUTSequence"):
        table, first = _table(dataset.ModalityLUTSequence[0], dataset)
        return _look_up(stored, table, first)
    slope, intercept = _number(dataset.get("RescaleSlope")), _number(dataset.get("RescaleIntercept"))
    return stored * np.float32(slope or 1.0) + np.float32(intercept or 0.0)


def _voi(values: np.ndarray, dataset: Dataset) -> np.ndarray | None:
    """Values of interest in [0, 1], or None where the file says nothing usable about them."""
    if dataset.get("VOILUTSequence"):
        table, first = _table(dataset.VOILUTSequence[0], dataset)
        span = float(table.max() - table.min())
        if span > 0:  # by the table's own range: many declare 16 bits and fill 12
            return _look_up(np.rint(values).astype(np.int64), (table - table.min()) / np.float32(span), first)
    center, width = _number(dataset.get("WindowCenter")), _number(dataset.get("WindowWidth"))
    if center is None or width is None:
        return None
    try:
        return window(values, center, width, str(dataset.get("VOILUTFunction") or "LINEAR").upper())
    except ValueError:
        return None


def _table(item: Dataset, dataset: Dataset) -> tuple[np.ndarray, int]:
    """Entries (float32) and first mapped value of a LUT item, PS3.3 C.11.1.1."""
    count, first, bits = (int(value) for value in item.LUTDescriptor)
    count = count % 65536 or 65536  # 0 stands for 65536; a signed reading of more than 32767 is negative
    first = _signed(first, dataset)
    data = item.LUTData
    if isinstance(data, bytes):
        words = ">u2" if dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian else "<u2"
        data = np.frombuffer(data, dtype=words if len(data) >= 2 * count else np.uint8)
    entries = np.atleast_1d(np.asarray(data, dtype=np.int64))[:count] & ((1 << max(bits, 8)) - 1)
    if entries.size == 0:
        raise ValueError("a lookup table without entries")
    return entries.astype(np.float32), first


def _look_up(values: np.ndarray, table: np.ndarray, first: int) -> np.ndarray:
    """Values below the first mapped one take the first entry, those beyond the last take the last.

    The tag of the first mapped value may be read in the wrong sign, so of the two readings the one counts whose range
    meets the values.
    """
    low, high = int(values.min()), int(values.max())

    def met(start: int) -> int:
        return max(0, min(high, start + len(table) - 1) - max(low, start) + 1)

    first = max((first, first - 65536, first + 65536), key=met)
    return table[np.clip(values - first, 0, len(table) - 1)]


def window(values: np.ndarray, center: float, width: float, function: str = "LINEAR") -> np.ndarray:
    """The VOI functions of PS3.3 C.11.2.1.2 and C.11.2.1.3 with an output range of [0, 1].

    Args:
        values: modality values of any shape.
        center: window centre in modality values.
        width: window width; at least 1 for LINEAR, above 0 for the others.
        function: ``LINEAR``, ``LINEAR_EXACT`` or ``SIGMOID``.

    Raises:
        ValueError: a width or function outside the standard.
    """
    if function == "LINEAR" and width >= 1:
        if width == 1:
            return (values > center - 0.5).astype(np.float32)
        return np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0.0, 1.0)
    if function == "LINEAR_EXACT" and width > 0:
        return np.clip((values - center) / width + 0.5, 0.0, 1.0)
    if function == "SIGMOID" and width > 0:
        # 1 / (1 + exp(-4 x)), written with tanh, which cannot overflow.
        return 0.5 + 0.5 * np.tanh(2.0 * (values - center) / width)
    raise ValueError(
        f"a window must be LINEAR with width >= 1, or LINEAR_EXACT or SIGMOID with width > 0; got {function}, {width:g}"
    )


def stretch(values: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Bring the values between two percentiles (``PERCENTILES``) to [0, 1] and clip the rest; a constant becomes 0.

    Args:
        values: (H, W) of any unit, or (levels,).
        counts: as ``values``, how many pixels have each value; None is one for all. What is not finite never counts.
    """
    kept = np.isfinite(values)
    if counts is not None:
        kept &= counts > 0
    if not kept.any():
        return np.zeros(values.shape, dtype=np.float32)
    counted = values[kept]
    low, high = _percentiles(counted, None if counts is None else counts[kept])
    if high <= low:  # a picture of nearly one value may still have a little drawn on it
        low, high = float(counted.min()), float(counted.max())
    if high <= low:
        return np.zeros(values.shape, dtype=np.float32)
    scaled = (np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) / (high - low)
    return np.clip(scaled, 0.0, 1.0).astype(np.float32)


def _percentiles(values: np.ndarray, counts: np.ndarray | None) -> tuple[float, float]:
    """Both ``PERCENTILES``, between two values on the line between them, as ``np.percentile`` has them."""
    if counts is None or counts.dtype == bool:
        low, high = np.percentile(values, PERCENTILES)
        return float(low), float(high)
    order = np.argsort(values, kind="stable")
    ends, ordered = np.cumsum(counts[order]), values[order].astype(np.float64)
    at = np.array(PERCENTILES) / 100 * (ends[-1] - 1)
    below, above = (ordered[np.searchsorted(ends, part(at), side="right")] for part in (np.floor, np.ceil))
    low, high = below + (above - below) * (at - np.floor(at))
    return float(low), float(high)


def _number(value: Any) -> float | None:
    """The first value of a DICOM number as float, or None where it is absent, empty or no number."""
    try:
        first = value if isinstance(value, (str, int, float)) else next(iter(value))
        number = float(first)
    except (TypeError, ValueError, StopIteration):
        return None
    return number if np.isfinite(number) else None
