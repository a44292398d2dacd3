"""What an archive sends beside images: each is named with its reason, and the 500 good ones go through."""

from __future__ import annotations

import csv
import io
import multiprocessing
import os
import resource
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundle.commands import run_verb
from bundle.data.datalist import load_datalist
from bundle.data.pictures import UnreadableImage
from bundle.data.reader import read_image

GOOD = 500


def png_of_zeros(width: int, height: int) -> bytes:
    """A grey PNG of zeros, made a row at a time: 2 MB that ask for ``width * height`` bytes."""
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(width + 1)) for _ in range(height)) + packer.flush()

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def huge_png() -> bytes:
    return png_of_zeros(20_000, 20_000)


@pytest.fixture(scope="module")
def archive(tmp_path_factory, huge_png) -> Path:
    """500 good pictures, and ten that are not what they seem."""
    root = tmp_path_factory.mktemp("archive")
    images = root / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for number in range(GOOD):
        Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(images / f"good_{number:03d}.png")
    whole = io.BytesIO()
    noise = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    noise.save(whole, "PNG")
    corrupt = bytearray(whole.getvalue())
    corrupt[60:400] = bytes(340)
    (images / "corrupt.png").write_bytes(bytes(corrupt))
    (images / "truncated.png").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    (images / "empty.png").write_bytes(b"")
    (images / "huge.png").write_bytes(huge_png)
    noise.crop((0, 0, 1, 1)).save(images / "one_pixel.png")
    Image.fromarray(rng.integers(0, 65536, (12, 16), dtype=np.uint16)).save(images / "deep.png")
    noise.convert("CMYK").save(images / "cmyk.jpg")
    noise.save(images / "animated.png", save_all=True, append_images=[noise.rotate(90)])
    noise.save(images / "gif.png", "GIF", save_all=True, append_images=[noise.rotate(90)])
    (images / "page.jpg").write_text("<!DOCTYPE html><html><body>please log in</body></html>")
    (images / "line\nbreak.png").write_bytes(whole.getvalue())
    Path(os.fsdecode(os.fsencode(images) + b"/caf\xe9.png")).write_bytes(whole.getvalue())
    return root


REASONS = {
    "corrupt.png": "unreadable: the picture is broken or cut short",
    "truncated.png": "unreadable: the picture is broken or cut short",
    "empty.png": "unreadable: the file is empty",
    "huge.png": "unreadable: the picture is above the limit of 80000000 pixels",
    "one_pixel.png": "unreadable: 1 x 1 pixels are too few",
    "animated.png": "unreadable: an animated picture of 2 frames",
    "gif.png": "unreadable: the content is no PNG, JPEG, TIFF or BMP",
    "page.jpg": "unreadable: the content is no PNG, JPEG, TIFF or BMP",
    "line\\nbreak.png": "name with a line break",
    "caf\\udce9.png": "name with a line break, a control character or bytes that are no UTF-8",
}


def test_500_good_images_go_through_and_every_other_one_is_named(archive):
    out = archive / "run" / "datalist.json"
    words = ["--images", str(archive / "images"), "--modality", "dermoscopy", "--out", str(out)]
    assert run_verb("make_datalist", words) == 0
    ids = load_datalist(out).ids("pool")
    assert [name for name in ids if name.startswith("good")] == [f"good_{number:03d}" for number in range(GOOD)]
    assert set(ids) - {f"good_{number:03d}" for number in range(GOOD)} == {"cmyk", "deep"}, "these two can be read"
    with (out.parent / "quarantine.csv").open(newline="", encoding="utf-8") as handle:
        found = {row["path"]: row["reason"] for row in csv.DictReader(handle)}
    assert set(found) == set(REASONS)
    assert {name: reason for name, reason in found.items() if not reason.startswith(REASONS[name])} == {}


def peak_of_reading(path: Path, answer) -> None:  # type: ignore[no-untyped-def]
    """MiB that a fresh process takes more after it was asked to read ``path``, and whether that was refused."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        read_image(path, "dermoscopy")
        refused = False
    except UnreadableImage:
        refused = True
    answer.put((refused, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_picture_of_20_000_x_20_000_pixels_takes_no_memory(tmp_path, huge_png, suffix):
    path = tmp_path / f"huge{suffix}"
    if suffix == ".png":
        path.write_bytes(huge_png)
    else:  # a TIFF may be sparse: all its strips are one
        Image.new("L", (20_000, 8)).save(path, compression="tiff_deflate")
        content = bytearray(path.read_bytes())
        at = content.index(struct.pack("<HHI", 257, 3, 1))  # ImageLength, PS TIFF 6.0 section 4
        content[at + 8 : at + 10] = struct.pack("<H", 20_000)
        path.write_bytes(bytes(content))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.data.test_bad_images"])
    answer = context.SimpleQueue()
    process = context.Process(target=peak_of_reading, args=(path, answer))
    process.start()
    refused, more = answer.get()
    process.join()
    assert refused and more < 100, f"{more:.0f} MiB; decoded it would be 381"


def draw(path: Path, value: int | np.ndarray, shape: tuple[int, int] = (12, 16)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full(shape, value, dtype=np.uint8) if isinstance(value, int) else value
    Image.fromarray(pixels).save(path)


def test_masks_follow_their_rules_by_id(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("empty", "full", "values", "size", "missing", "twice"):
        draw(tmp_path / "images" / f"{name}.png", rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    draw(tmp_path / "images" / "twice.tif", rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    draw(tmp_path / "masks" / "empty.png", 0)
    draw(tmp_path / "masks" / "full.png", 255)
    draw(tmp_path / "masks" / "values.png", rng.integers(0, 3, (12, 16), dtype=np.uint8))
    draw(tmp_path / "masks" / "size.png", 255, (16, 12))
    draw(tmp_path / "masks" / "twice.png", 255)
    draw(tmp_path / "masks" / "nobody.png", 255)
    out = tmp_path / "run" / "datalist.json"
    words = ["--images", str(tmp_path / "images"), "--masks", str(tmp_path / "masks"), "--modality", "dermoscopy"]
    assert run_verb("make_datalist", [*words, "--validation-fraction", "0", "--out", str(out)]) == 0
    datalist = load_datalist(out)
    assert datalist.ids("pool") == ["empty", "full", "missing", "size", "twice", "values"]
    assert datalist.ids("training") == ["empty", "full", "twice", "values"], "no lesion, and nothing else, are answers"
    with (out.parent / "quarantine.csv").open(newline="", encoding="utf-8") as handle:
        found = {Path(row["path"]).name: row["reason"].split(":")[0] for row in csv.DictReader(handle)}
    assert found == {
        "twice.tif": "same id",
        "size.png": "mask of another size",
        "nobody.png": "mask without an image",
    }


def test_a_jpeg_called_jfif_is_read_and_its_mask_found(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    for place in ("images", "masks"):
        (tmp_path / place).mkdir()
    Image.fromarray(pixels).save(tmp_path / "images" / "photo.JFIF", format="JPEG")
    Image.fromarray((pixels[..., 0] > 99).astype(np.uint8) * 255).save(tmp_path / "masks" / "photo.png")
    out = tmp_path / "run" / "datalist.json"
    words = ["--images", str(tmp_path / "images"), "--masks", str(tmp_path / "masks"), "--modality", "dermoscopy"]
    assert run_verb("make_datalist", [*words, "--validation-fraction", "0", "--out", str(out)]) == 0
    (entry,) = load_datalist(out).section("training")
    assert entry["id"] == "photo" and read_image(entry["image"], "dermoscopy").shape == (12, 16, 3)


def test_every_picture_in_a_format_that_is_not_read_is_named(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(images / "a.png")
    for name in ("b.pgm", "c.PPM", "d.dng"):
        (images / name).write_bytes(b"P5")
    out = tmp_path / "run" / "datalist.json"
    assert run_verb("make_datalist", ["--images", str(images), "--modality", "dermoscopy", "--out", str(out)]) == 0
    with (out.parent / "quarantine.csv").open(newline="", encoding="utf-8") as handle:
        found = {row["path"]: row["reason"].split(":")[0] for row in csv.DictReader(handle)}
    assert found == dict.fromkeys(["b.pgm", "c.PPM", "d.dng"], "format that is not read")
