"""Sources and masks that the tests of written DICOM objects share, and a validator of the standard."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
from pydicom.uid import generate_uid

from tests.data.conftest import make_dicom


def corner(rows: int, columns: int) -> np.ndarray:
    """A mask that no turn, mirror or transposition leaves as it is."""
    mask = np.zeros((rows, columns), np.uint8)
    mask[1:3, 2 : columns - 3] = 1
    mask[1 : rows - 2, 2] = 1
    mask[0, 0] = 1
    return mask


def image(path: Path, pixels: np.ndarray, **tags: object) -> Path:
    """A DICOM image with what its class asks for beside what ``make_dicom`` writes."""
    blank = {"StudyDate": "", "StudyTime": "", "StudyID": "", "AccessionNumber": "", "ReferringPhysicianName": ""}
    series = {"SeriesInstanceUID": generate_uid(), "PatientSex": "F", "Manufacturer": "Maker"}
    return make_dicom(path, pixels, bits=8 * pixels.dtype.itemsize, **{**blank, **series, **tags})


def errors_of(path: Path) -> list[str]:
    """What dciodvfy (dicom3tools) holds against a file."""
    told = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    return [line for line in (told.stdout + told.stderr).splitlines() if line.startswith("Error")]
