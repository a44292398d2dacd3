"""Pictures: what is meant to be seen is read, anything broken is refused by name and reason."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundle.data import pictures
from bundle.data.pictures import (
    UnreadableImage,
    read_grey_picture,
    read_picture,
    reduced_grey_picture,
    reduced_picture,
)

COLOUR = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
GREY = np.random.default_rng(1).integers(0, 256, (6, 9), dtype=np.uint8)
DEEP = np.random.default_rng(2).integers(0, 65536, (6, 9)).astype(np.uint16)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff"])
def test_colour_is_read_as_written(write_picture, suffix):
    np.testing.assert_array_equal(read_picture(write_picture(COLOUR, "image" + suffix)), COLOUR)


def test_grey_is_repeated_over_the_channels(write_picture):
    np.testing.assert_array_equal(read_picture(write_picture(GREY)), np.repeat(GREY[..., None], 3, axis=-1))


def test_16_bits_are_scaled_and_not_clipped(write_picture):
    path = write_picture(DEEP)
    assert read_picture(path).dtype == np.uint8
    np.testing.assert_allclose(read_picture(path)[..., 0], DEEP / 65535 * 255, atol=0.5 + 1e-4)


def test_grey_reader_keeps_16_bits(write_picture):
    grey = read_grey_picture(write_picture(DEEP))
    assert grey.dtype == np.float32
    np.testing.assert_array_equal(np.rint(grey * 65535).astype(np.uint16), DEEP)


def test_grey_reader_gives_luminance_of_colour(write_picture):
    grey = read_grey_picture(write_picture(COLOUR))
    expected = np.zeros(COLOUR.shape[:2])
    for row, column in np.ndindex(expected.shape):
        red, green, blue = (int(value) for value in COLOUR[row, column])
        expected[row, column] = (0.299 * red + 0.587 * green + 0.114 * blue) / 255
    np.testing.assert_allclose(grey, expected, atol=1e-6)


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation_is_honoured(write_picture, turn):
    """Each of the eight orientations shows the same picture, when the pixels are stored turned the other way."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = Image.fromarray(COLOUR)
    stored = image.transpose(undo[turn]) if turn in undo else image
    exif = Image.Exif()
    exif[0x0112] = turn
    np.testing.assert_array_equal(read_picture(write_picture(stored, exif=exif)), COLOUR)


def test_transparent_pixels_are_black_and_opaque_ones_untouched(write_picture):
    alpha = np.full((6, 9), 255, dtype=np.uint8)
    alpha[2:, :4] = 0
    read = read_picture(write_picture(np.dstack([COLOUR, alpha])))
    np.testing.assert_array_equal(read[alpha == 0], 0)
    np.testing.assert_array_equal(read[alpha == 255], COLOUR[alpha == 255])


def test_palette_is_looked_up(write_picture):
    image = Image.fromarray(GREY % 4, mode="P")
    palette = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120]
    image.putpalette(palette)
    np.testing.assert_array_equal(read_picture(write_picture(image)), np.reshape(palette, (4, 3))[GREY % 4])


def test_cmyk_becomes_rgb(write_picture):
    image = Image.new("CMYK", (5, 4), (0, 255, 255, 0))
    np.testing.assert_array_equal(read_picture(write_picture(image, "image.tif")), np.full((4, 5, 3), (255, 0, 0)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html><body>not found</body></html>", "no PNG, JPEG, TIFF or BMP"),
        (None, "cannot be opened"),
    ],
)
@pytest.mark.parametrize("read", [read_picture, read_grey_picture])
def test_what_is_no_picture_is_refused_with_path_and_reason(tmp_path, read, content, reason):
    path = tmp_path / "image.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableImage, match=reason) as caught:
        read(path)
    assert caught.value.path == path
    assert str(path) in str(caught.value)
    assert caught.value.reason in str(caught.value)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_a_picture_cut_short_is_refused(write_picture, suffix):
    noise = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = write_picture(noise, "image" + suffix)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableImage):
        read_picture(path)


def test_an_absurd_size_is_refused_before_decoding(write_picture, monkeypatch):
    monkeypatch.setattr(pictures, "MAX_PIXELS", 53)
    with pytest.raises(UnreadableImage, match="9 x 6 pixels are above the limit of 53"):
        read_picture(write_picture(COLOUR))


def test_a_float_picture_outside_0_to_1_is_refused(write_picture):
    with pytest.raises(UnreadableImage, match="within 0 and 1"):
        read_grey_picture(write_picture(np.full((4, 4), 300.0, dtype=np.float32), "image.tif"))


def test_the_error_survives_pickling():
    error = pickle.loads(pickle.dumps(UnreadableImage(Path("a/b.png"), "broken")))
    assert (error.path, error.reason) == (Path("a/b.png"), "broken")


@pytest.mark.real
def test_real_truncated_jpegs_are_refused(real_data):
    paths = sorted((real_data / "truncated_jpegs").glob("*.jpg"))
    assert len(paths) == 4
    for path in paths:
        with pytest.raises(UnreadableImage, match="broken or cut short"):
            read_picture(path)


def smooth(width: int, height: int) -> np.ndarray:
    """(H, W, 3) uint8 without edges, which JPEG keeps nearly as it is."""
    coarse = np.random.default_rng(3).integers(40, 216, (5, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize(
    ("width", "height", "side", "factor"),
    [
        (639, 400, 160, 1),  # less than four times the side
        (640, 401, 160, 2),
        (1279, 300, 160, 2),
        (401, 1281, 160, 4),
        (2560, 1000, 160, 8),
        (4001, 2999, 32, 8),  # no JPEG comes smaller
    ],
)
def test_a_large_jpeg_comes_with_a_part_of_its_pixels_and_tells_all_its_size(tmp_path, width, height, side, factor):
    path = tmp_path / "large.jpg"
    Image.fromarray(smooth(width, height)).save(path, quality=95)
    found = reduced_picture(path, side)
    assert found.size == (height, width)
    assert found.pixels.shape == (-(-height // factor), -(-width // factor), 3)
    assert factor == 1 or max(found.pixels.shape) >= 2 * side
    whole = read_picture(path).astype(float)
    for row, column in ((0, 0), (height // factor // 2, width // factor // 2), (height // factor - 1, 3)):
        block = whole[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
        np.testing.assert_allclose(found.pixels[row, column], block.mean(axis=(0, 1)), atol=4)
    grey = reduced_grey_picture(path, side)
    assert grey.size == (height, width) and grey.pixels.shape == found.pixels.shape[:2]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_reduced_jpeg_is_upright_and_so_is_its_size(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.jpg"
    Image.fromarray(smooth(600, 400)).save(path, exif=exif)
    found, whole = reduced_picture(path, 64), read_picture(path)
    assert found.size == whole.shape[:2]
    height, width = (side // 4 for side in found.size)
    assert found.pixels.shape == (height, width, 3)
    blocks = whole.reshape(height, 4, width, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(found.pixels, blocks, atol=6)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_other_formats_come_whole(write_picture, suffix):
    colour = smooth(600, 400)
    found = reduced_picture(write_picture(colour, "image" + suffix), 16)
    assert found.size == (400, 600)
    np.testing.assert_array_equal(found.pixels, colour)


def test_a_reduced_jpeg_that_is_cut_short_is_refused(tmp_path):
    path = tmp_path / "cut.jpg"
    Image.fromarray(smooth(900, 700)).save(path)
    content = path.read_bytes()
    for kept in (0.5, 0.9, 0.99):
        path.write_bytes(content[: int(kept * len(content))])
        with pytest.raises(UnreadableImage, match="broken or cut short"):
            reduced_picture(path, 16)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_a_shallow_detector_s_values_fill_the_range_and_full_ones_stay(write_picture, bits):
    values = np.random.default_rng(0).integers(0, 1 << bits, (40, 40)).astype(np.uint16)
    shown = read_grey_picture(write_picture(values, "x.png"))
    low, high = np.percentile(values, (0.5, 99.5))
    np.testing.assert_allclose(shown, np.clip((values - low) / (high - low), 0, 1), atol=1e-6)
    full = (values << (16 - bits)).astype(np.uint16)
    np.testing.assert_allclose(read_grey_picture(write_picture(full, "y.png")), full / 65535, atol=1e-6)


def test_a_deep_tiff_in_which_white_is_0_is_turned_over(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (9, 8)).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "x.tif", tiffinfo={262: 0})
    np.testing.assert_allclose(read_grey_picture(tmp_path / "x.tif"), 1 - values / 65535, atol=1e-6)
