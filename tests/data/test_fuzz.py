"""Thousands of damaged files: each is read or refused with a reason, and none ends or holds up the reader."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundle.data.pictures import UnreadableImage
from bundle.data.reader import read_image

from .conftest import make_dicom

LIMIT = 10  # seconds that a file may take
MEMORY = 6 << 30  # bytes of address space of the reading process, libraries included


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """One to a few of what happens to files: bits flip, bytes change, parts are lost, doubled, swapped or zeroed."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        if not data:
            break
        kind, at = int(rng.integers(7)), int(rng.integers(len(data)))
        if rng.random() < 0.6:  # headers are where it hurts
            at = int(rng.integers(min(len(data), 600)))
        length = int(rng.integers(1, 1 + min(64, len(data))))
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[at : at + length] = rng.bytes(length)
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            del data[at : at + length]
        elif kind == 4:
            data[at:at] = data[at : at + length]
        elif kind == 5:
            data[at : at + 4] = [b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff"][int(rng.integers(3))]
        else:
            data[at : at + length] = bytes(length)
    return bytes(data)


def read_all(paths: Sequence[Path], modality: str, results: Connection) -> None:
    """In a process of its own: tell of each file, in order, what came of it."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.RLIM_INFINITY))
    for path in paths:
        try:
            image = read_image(path, modality)
            sound = image.ndim == 3 and image.dtype == np.float32 and image.min() >= 0 and image.max() <= 1
            results.send("read" if sound else f"unsound: {image.shape}, {image.dtype}")
        except UnreadableImage as error:
            results.send("refused" if error.reason.strip() else "refused without a reason")
        except BaseException as error:
            results.send(f"{type(error).__name__}: {error}")


def outcomes(paths: Sequence[Path], modality: str) -> list[str]:
    """What came of each file; a file that kills or holds up its process is told and the next one is read by another."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.data.test_fuzz", "pydicom.pixels"])
    found: list[str] = []
    while len(found) < len(paths):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=read_all, args=(list(paths[len(found) :]), modality, sender))
        process.start()
        sender.close()
        wait = LIMIT + 50  # the first answer includes the start
        try:
            while len(found) < len(paths):
                if not receiver.poll(wait):
                    found.append("held up")
                    break
                found.append(receiver.recv())
                wait = LIMIT
        except EOFError:
            process.join()
            found.append(f"ended the process with {process.exitcode}")
        process.kill()
        process.join()
    return found


def assert_every_one_is_read_or_refused(
    originals: Sequence[Path], count: int, folder: Path, modality: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    folder.mkdir()
    contents = [(path.suffix, path.read_bytes()) for path in originals]
    paths = []
    for number in range(count):
        suffix, content = contents[number % len(contents)]
        paths.append(folder / f"{number:05d}{suffix}")
        paths[-1].write_bytes(mutate(content, rng))
    found = outcomes(paths, modality)
    sound = ("read", "refused")
    assert {path.name: told for path, told in zip(paths, found, strict=True) if told not in sound} == {}
    assert set(found) == set(sound), "mutations that are all harmless or all deadly test nothing"


@pytest.fixture
def drawn_pictures(write_picture: Callable[..., Path]) -> list[Path]:
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (40, 52, 3), dtype=np.uint8)
    grey = Image.fromarray(rng.integers(0, 65536, (40, 52), dtype=np.uint16))
    return [
        *(write_picture(colour, f"plain{suffix}") for suffix in (".png", ".jpg")),
        write_picture(grey, "deep.png"),
        write_picture(Image.fromarray(colour).quantize(16), "palette.png"),
        write_picture(Image.fromarray(colour), "progressive.jpg", progressive=True),
    ]


@pytest.fixture
def drawn_radiographs(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 4096, (40, 52), dtype=np.uint16)
    return [
        make_dicom(tmp_path / "window.dcm", pixels, WindowCenter=2048, WindowWidth=4096),
        make_dicom(tmp_path / "implicit.dcm", pixels, preamble=False, RescaleSlope="2", RescaleIntercept="-10"),
        make_dicom(tmp_path / "colour.dcm", rng.integers(0, 256, (40, 52, 3), dtype=np.uint8), bits=8),
    ]


def test_damaged_pictures_are_read_or_refused(drawn_pictures, tmp_path):
    assert_every_one_is_read_or_refused(drawn_pictures, 150, tmp_path / "damaged", "dermoscopy", seed=0)


def test_damaged_dicom_is_read_or_refused(drawn_radiographs, tmp_path):
    assert_every_one_is_read_or_refused(drawn_radiographs, 150, tmp_path / "damaged", "chest_xray", seed=1)


@pytest.mark.real
def test_2000_damaged_real_pictures_are_read_or_refused(real_data, drawn_pictures, tmp_path):
    images = [sorted((real_data / name / "images").iterdir())[7] for name in ("dermoscopy", "chest_xray")]
    assert_every_one_is_read_or_refused([*images, *drawn_pictures], 2000, tmp_path / "damaged", "dermoscopy", seed=2)


@pytest.mark.real
def test_2000_damaged_real_dicom_files_are_read_or_refused(real_data, drawn_radiographs, tmp_path):
    files = [path for path in sorted((real_data / "dicom").rglob("*")) if path.is_file()]
    small = sorted((path for path in files if path.name != "README.md"), key=lambda path: path.stat().st_size)[:12]
    assert_every_one_is_read_or_refused([*small, *drawn_radiographs], 2000, tmp_path / "damaged", "chest_xray", seed=3)
