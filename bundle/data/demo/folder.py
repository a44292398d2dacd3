"""The folder of a drawn data set: ``images/``, ``masks/`` of the same stems, and ``run.json``."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from bundle.data.demo.computed_radiograph import write_computed_radiograph
from bundle.data.demo.dermoscopy import draw_dermoscopy
from bundle.data.demo.radiograph import draw_chest, draw_radiograph
from bundle.run.atomic import atomic_folder
from bundle.run.record import RunRecord
from bundle.run.seeds import numpy_stream

logger = logging.getLogger(__name__)

MODALITIES = ("dermoscopy", "chest_xray")
JPEG_QUALITY = 92  # what cameras write: artefacts are there and not seen
MIN_SIZE = 64  # below, the smallest lesions are a few pixels and the ribs melt
STAGE = "make_demo"
# Every block of four pictures is of three patients, one of whom has two; so a third of the patients do, and a
# picture's patient does not depend on how many pictures there are.
BLOCK_IMAGES, BLOCK_PATIENTS = 4, 3


def make_demo(
    folder: str | os.PathLike[str],
    *,
    modality: str = "dermoscopy",
    count: int = 240,
    seed: int = 0,
    size: int = 256,
    overwrite: bool = False,
) -> Path:
    """Draw ``count`` pictures with their true masks into ``folder``, whole or not at all.

    ``dermoscopy`` gives ``images/img_0000.jpg`` (RGB) and ``masks/img_0000.png``; ``chest_xray`` gives CR objects of
    12 bits, ``images/patient_000/img_0000.dcm``, and ``masks/patient_000/img_0000.png``. A third of these patients
    have two pictures. Masks have the size of their picture and the values 0 and 255 (lesion, or both lungs).

    Picture i depends on ``seed``, ``modality``, ``size`` and i alone, so a larger set holds the smaller one.

    Args:
        folder: what to make.
        modality: one of ``MODALITIES``.
        count: number of pictures, at least 1.
        seed: of every choice.
        size: scale of the pictures in pixels, at least ``MIN_SIZE``; the sides are 0.75 to 1.25 times as long.
        overwrite: replace ``folder`` if an earlier call made it.

    Returns:
        The folder.

    Raises:
        ValueError: an argument is out of range, or the folder to replace is no drawn data set.
        OutputExists: ``folder`` is there and ``overwrite`` is false.
    """
    if modality not in MODALITIES:
        raise ValueError(f"modality must be one that can be drawn, {' or '.join(MODALITIES)}; got {modality!r}")
    if count < 1:
        raise ValueError(f"count must be at least 1 picture, got {count}")
    if size < MIN_SIZE:
        raise ValueError(f"size must be at least {MIN_SIZE} pixels, got {size}")
    target = Path(folder)
    record = RunRecord(STAGE, {"modality": modality, "count": count, "size": size}, seed=seed)
    draw = _draw_dermoscopy if modality == "dermoscopy" else _draw_chest_xray
    with atomic_folder(target, overwrite=overwrite, stage=STAGE) as temporary:
        with record.timed("draw"):
            for index in tqdm(range(count), unit="picture", disable=not sys.stderr.isatty()):
                draw(temporary, index, seed, size)
        record.write(temporary)
    logger.info("drew %d pictures (%s) into %s", count, modality, target)
    return target


def patient_of(index: int, *, seed: int) -> int:
    """The number of the patient on chest radiograph ``index``, counted from 0."""
    block, place = divmod(index, BLOCK_IMAGES)
    twice = int(numpy_stream(seed, "chest_xray", "patients", block).integers(BLOCK_PATIENTS))
    return BLOCK_PATIENTS * block + (place if place <= twice else place - 1)


def _draw_dermoscopy(folder: Path, index: int, seed: int, size: int) -> None:
    picture, mask = draw_dermoscopy(numpy_stream(seed, "dermoscopy", index), size=size)
    image = folder / "images" / f"img_{index:04d}.jpg"
    image.parent.mkdir(exist_ok=True)
    Image.fromarray(picture).save(image, quality=JPEG_QUALITY, subsampling=0)
    _save_mask(folder / "masks" / f"img_{index:04d}.png", mask)


def _draw_chest_xray(folder: Path, index: int, seed: int, size: int) -> None:
    patient = patient_of(index, seed=seed)
    chest = draw_chest(numpy_stream(seed, "chest_xray", "patient", patient))
    stream = numpy_stream(seed, "chest_xray", index)
    picture, mask = draw_radiograph(stream, chest=chest, size=size)
    place = Path(f"patient_{patient:03d}") / f"img_{index:04d}"
    image = folder / "images" / place.with_suffix(".dcm")
    image.parent.mkdir(parents=True, exist_ok=True)
    write_computed_radiograph(image, picture, stream, name=f"{seed}.{size}.{index}", patient=f"{seed}.{patient}")
    _save_mask(folder / "masks" / place.with_suffix(".png"), mask)


def _save_mask(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).save(path)
