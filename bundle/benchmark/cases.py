"""What puts the test images into groups, kept beside a benchmark's rows."""

from __future__ import annotations

from pathlib import Path

from bundle.benchmark.arms import short
from bundle.benchmark.images import TestImages
from bundle.data.datalist import Datalist
from bundle.data.modality import Modality
from bundle.run.table import read_csv, write_csv
from bundle.segmentation.subgroups import CASE_COLUMNS, case_of, subgroups


def write_cases(folder: Path, data: str, datalist: Datalist, test: TestImages, modality: Modality) -> Path:
    """Write ``cases/DATA_SIZE.csv``, a row of :func:`~bundle.segmentation.subgroups.case_of` for every test image.

    The tone of the skin is that of the canvas, so it may differ from size to size.

    Args:
        folder: of the benchmark.
        data: fingerprint of the images.
    """
    rows = [
        case_of(entry, test.canvases[position], test.mask(position), modality)
        for position, entry in enumerate(datalist.section("test"))
    ]
    return write_csv(_cases_file(folder, data, modality.size), rows, CASE_COLUMNS)


def has_cases(folder: Path, data: str, size: int) -> bool:
    """Whether what groups the test images is there."""
    return _cases_file(folder, data, size).is_file()


def read_groups(folder: Path, data: str, size: int) -> dict[str, dict[str, list[str]]]:
    """The groups of the test images, see :func:`~bundle.segmentation.subgroups.subgroups`; none without the file."""
    file = _cases_file(folder, data, size)
    if not file.is_file():
        file = folder / "cases" / f"{short(data)}.csv"  # as it was called before
    if not file.is_file():
        return {}
    return subgroups(read_csv(file))


def _cases_file(folder: Path, data: str, size: int) -> Path:
    return folder / "cases" / f"{short(data)}_{size}.csv"
