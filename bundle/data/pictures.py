"""Pictures (PNG, JPEG, TIFF, BMP) as arrays. A file that is not whole and honest is refused, never guessed."""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from bundle.data.grayscale import stretch

logger = logging.getLogger(__name__)

SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".tif", ".tiff", ".bmp")
# What else a picture may come as.
UNREAD_SUFFIXES = (
    *(".webp", ".jp2", ".j2k", ".heic", ".heif", ".avif", ".gif"),
    *(".pgm", ".ppm", ".pbm", ".pnm", ".dng", ".nef", ".cr2", ".psd"),
)
FORMATS = ("PNG", "JPEG", "TIFF", "BMP")  # and no format for which PIL would start another program
MAX_PIXELS = 80_000_000  # twice the largest radiograph or camera picture in use; more is a bomb or a whole slide
SHALLOW = 1 << 14  # 16-bit pixels below it are 14 bits of a detector or less, which nearly black pictures would show
PHOTOMETRIC, WHITE_IS_ZERO = 262, 0  # of TIFF 6.0, section 4
_ON_THEIR_SIDE = (5, 6, 7, 8)  # values of EXIF's Orientation that change width for height
LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, section 2.5.1: R, G, B to luma


class UnreadableImage(ValueError):
    """An image that cannot be used.

    Attributes:
        path: the file.
        reason: why, in a few words without any data of a patient.
        kind: what to count it under.
    """

    kind = "unreadable"

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        # Both go to `args`, so that the error survives the way back from a worker process.
        super().__init__(os.fspath(path), reason)
        self.path = Path(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} is not usable: {self.reason}"


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture.

    Attributes:
        pixels: (h, w, 3) uint8 RGB, or (h, w) grey, uint8 as stored or float32 in [0, 1].
        size: (H, W) of the picture as it is stored and meant to be seen; ``pixels`` may have a half, a quarter or an
            eighth of it, rounded up.
    """

    pixels: np.ndarray
    size: tuple[int, int]


def read_picture(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a picture as it is meant to be seen.

    EXIF orientation is applied; grey, palette and CMYK become RGB; what is transparent becomes black; 16-bit grey is
    scaled to 8 bits.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        UnreadableImage: absent, empty, truncated, not a picture, or above ``MAX_PIXELS``.
    """
    return reduced_picture(path, None).pixels


def read_grey_picture(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a picture as grey values with all the depth it has (8 or 16 bits); colour becomes luminance.

    A detector of 10 to 14 bits leaves the upper bits of 16 empty. Where no pixel reaches a quarter of the range
    (``SHALLOW``), the values between two percentiles are shown, as of DICOM without a window.

    Returns:
        (H, W) float32 in [0, 1]; 1 is the largest value that the file's depth can hold, or else the upper percentile.

    Raises:
        UnreadableImage: as :func:`read_picture`.
    """
    return in_unit(reduced_grey_picture(path, None).pixels)


def in_unit(pixels: np.ndarray) -> np.ndarray:
    """Stored uint8 as float32 in [0, 1]; what is there already stays."""
    return np.divide(pixels, np.float32(255.0), dtype=np.float32) if pixels.dtype == np.uint8 else pixels


def reduced_picture(path: str | os.PathLike[str], side: int | None) -> Picture:
    """What :func:`read_picture` reads, with no more pixels than are needed.

    Args:
        side: the longer side that the pixels will be brought to. A JPEG with four times as much or more is decoded to
            a half, a quarter or an eighth, never below twice ``side``: its blocks of 8 x 8 then become blocks of 4, 2
            or 1 pixels, which takes a fraction of the time and memory. It is read to its end all the same, so a broken
            one shows. Where None, all pixels.
    """
    image, size = _decode(path, side)
    if _is_deep(image):
        grey = np.rint(_deep_grey(image, path) * 255.0).astype(np.uint8)
        return Picture(np.repeat(grey[..., None], 3, axis=-1), size)
    shown = _opaque(image)
    return Picture(np.array(shown if shown.mode == "RGB" else shown.convert("RGB")), size)  # which copies RGB too


def reduced_grey_picture(path: str | os.PathLike[str], side: int | None) -> Picture:
    """What :func:`read_grey_picture` reads, with no more pixels than are needed; see :func:`reduced_picture`."""
    image, size = _decode(path, side)
    if _is_deep(image):
        return Picture(_deep_grey(image, path), size)
    image = _opaque(image)
    if image.mode in ("1", "L"):
        return Picture(np.array(image.convert("L")), size)  # a view of a PIL image cannot be written to
    return Picture(np.asarray(image.convert("RGB"), dtype=np.float32) @ LUMINANCE / 255.0, size)


def has_few_values(path: str | os.PathLike[str], most: int = 8) -> bool:
    """Whether a picture has at most that many colours, as masks have and photographs do not; False where unreadable."""
    try:
        image = _open(path, None)[0]
    except UnreadableImage:
        return False
    # PIL counts colours of eight bits alone.
    return len(np.unique(np.asarray(image))) <= most if _is_deep(image) else image.getcolors(most) is not None


def open_picture(path: str | os.PathLike[str], *, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """Decode a picture fully, in its own mode and orientation.

    Args:
        formats: that it may have, by PIL's names.

    Raises:
        UnreadableImage: as :func:`read_picture`.
    """
    return _open(path, None, formats)[0]


def _open(
    path: str | os.PathLike[str], side: int | None, formats: tuple[str, ...] = FORMATS
) -> tuple[Image.Image, tuple[int, int]]:
    """A picture decoded to its end, and the (W, H) that all its pixels have."""
    try:
        if Path(path).stat().st_size == 0:
            raise UnreadableImage(path, "the file is empty")
        with Image.open(path, formats=formats) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise UnreadableImage(path, f"{width} x {height} pixels are above the limit of {MAX_PIXELS}")
            frames = getattr(image, "n_frames", 1)
            if frames > 1 and getattr(image, "is_animated", False) and image.format in ("PNG", "GIF"):
                raise UnreadableImage(path, f"an animated picture of {frames} frames is no single image")
            if frames > 1 and image.format == "TIFF":
                logger.warning("%s has several pages; the first is read", path)
            factor = 1 if side is None else max(width, height) // (2 * side)
            if factor > 1 and image.format == "JPEG":
                image.draft(None, (width // factor, height // factor))  # to the next of 1/2, 1/4 and 1/8 that is larger
            image.load()
            return image, (width, height)
    except UnreadableImage:
        raise
    except UnidentifiedImageError:
        raise UnreadableImage(path, f"the content is no {', '.join(formats[:-1])} or {formats[-1]}") from None
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise UnreadableImage(path, f"the file cannot be opened ({type(error).__name__})") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImage(path, f"the picture is above the limit of {MAX_PIXELS} pixels") from None
    except Exception as error:  # a broken stream raises nearly anything: OSError, SyntaxError, struct.error, ...
        raise UnreadableImage(path, f"the picture is broken or cut short ({error})") from error


def _decode(path: str | os.PathLike[str], side: int | None) -> tuple[Image.Image, tuple[int, int]]:
    """A picture upright, and the (H, W) that all its pixels have so."""
    image, (width, height) = _open(path, side)
    turned, orientation = upright(image, path)
    return turned, (width, height) if orientation in _ON_THEIR_SIDE else (height, width)


def upright(image: Image.Image, path: str | os.PathLike[str]) -> tuple[Image.Image, int]:
    """A picture turned as its EXIF data say, and what they say, 1 to 8; 1, and as stored, where they are broken."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        if orientation == 1:
            return image, 1  # which exif_transpose would copy
        return ImageOps.exif_transpose(image), orientation
    except Exception as error:  # the pixels are whole; only the note on orientation is not
        logger.warning("%s has broken EXIF data (%s); it is read as stored", path, type(error).__name__)
        return image, 1


def _is_deep(image: Image.Image) -> bool:
    return image.mode.startswith("I") or image.mode == "F"


def _deep_grey(image: Image.Image, path: str | os.PathLike[str]) -> np.ndarray:
    """(H, W) float32 in [0, 1] of a picture with more than 8 bits a pixel."""
    values = np.asarray(image)
    low, high = (float(values.min()), float(values.max()))
    if image.mode == "F":
        if not (low >= 0.0 and high <= 1.0):  # also false for NaN
            raise UnreadableImage(path, f"float pixels must be within 0 and 1, got {low:g} to {high:g}")
        return values.astype(np.float32)
    if low < 0 or high > 65535:
        raise UnreadableImage(path, f"integer pixels must fit 16 bits unsigned, got {low:g} to {high:g}")
    grey = stretch(values) if high < SHALLOW else values.astype(np.float32) / np.float32(65535.0)
    # Of TIFF's photometric interpretations 0 means that white is 0; PIL turns over what has 8 bits and no more.
    inverted = getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == WHITE_IS_ZERO
    return 1.0 - grey if inverted else grey


def _opaque(image: Image.Image) -> Image.Image:
    """Lay a picture with transparency over black: a transparent pixel holds nothing that was ever seen."""
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        coloured = image.convert("RGBA")
        ground = Image.new("RGBA", coloured.size, (0, 0, 0, 255))
        return Image.alpha_composite(ground, coloured).convert("RGB")
    return image
