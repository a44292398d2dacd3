"""Chosen images as files in one folder, in their order, for a tool that knows no datalist."""

from __future__ import annotations

import dataclasses
import logging
import re
import shutil
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bundle.data import dicom, nifti, pictures
from bundle.data.frames import split_frame
from bundle.run.table import read_csv, write_csv

logger = logging.getLogger(__name__)

TABLE = "images.csv"
COLUMNS = ("rank", "file", "id")
_LONGEST_ID = 80  # characters; with rank and suffix far below the 255 bytes that file systems take


@dataclasses.dataclass(frozen=True)
class HandedOver:
    """What became of the images.

    Attributes:
        files: rank to name in the folder.
        missing: ids whose file is not there or cannot be read.
    """

    files: dict[int, str]
    missing: tuple[str, ...]


def hand_over(images: Sequence[tuple[str, Path]], folder: Path, *, link: bool = False, first: int = 1) -> HandedOver:
    """Copy images into ``folder`` as ``0001_<id>.<suffix>``, and write ``images.csv``: rank, file, id.

    Names are made of rank, id and the format alone, so that nothing of the original's path gets into them; times and
    permissions of the originals are not taken over. The bytes are: a DICOM file keeps its header, with all names in it.
    An image that cannot be opened is named in the log and has no file in the table; the others are copied.
    What the table has already stays.

    Args:
        images: id and file, in order.
        folder: to write into, which is there.
        link: make symbolic links to the files instead. A link shows the path of its file.
        first: rank of the first image. Ranks that differ make names that differ, whatever the ids.
    """
    put: Callable[[Path, Path], object] = _link if link else shutil.copyfile
    digits = max(4, len(str(first + len(images) - 1)))
    files: dict[int, str] = {}
    missing: list[str] = []
    rows: list[Mapping[str, object]] = [*handed_over(folder)]
    for rank, (identifier, path) in enumerate(images, start=first):
        name = f"{rank:0{digits}d}_{safe_name(identifier)}{_suffix(path)}"
        file = split_frame(path)[0]  # a frame goes with its whole file
        try:
            with file.open("rb"):  # a link to nowhere would be made without a word
                pass
        except OSError as error:
            logger.warning("image %r is not handed over: %s", identifier, error.strerror or error)
            missing.append(identifier)
        else:  # what cannot be written, as on a full disk, is an error of the whole
            (folder / name).unlink(missing_ok=True)  # through a link that is there a copy would replace the original
            put(file, folder / name)
            files[rank] = name
        rows.append({"rank": rank, "file": files.get(rank, ""), "id": identifier})
    write_csv(folder / TABLE, rows, COLUMNS)
    return HandedOver(files, tuple(missing))


def handed_over(folder: Path) -> list[dict[str, str]]:
    """The rows of the ``images.csv`` in a folder; none where it is not there."""
    table = folder / TABLE
    if not table.is_file():
        return []
    return read_csv(table)


def safe_name(identifier: str) -> str:
    """An id as part of a file name that every system takes: ASCII letters, digits, ``-`` and ``_``, 80 at most.

    Accents are dropped and every other run of characters becomes one ``_``. Of a longer id the end stays, where names
    of files differ. Two ids may have the same name.
    """
    plain = unicodedata.normalize("NFKD", identifier).encode("ascii", "ignore").decode("ascii")
    return re.sub(r"[^A-Za-z0-9-]+", "_", plain).strip("_")[-_LONGEST_ID:] or "image"


def _link(path: Path, name: Path) -> None:
    name.symlink_to(path.absolute())


def _suffix(file: Path) -> str:
    """The suffix of the file's format; one that is none, such as the end of a UID, is not shown."""
    lower = file.name.lower()
    if dicom.is_dicom(file):
        return next((suffix for suffix in dicom.SUFFIXES if lower.endswith(suffix)), ".dcm")
    return next((suffix for suffix in (*nifti.SUFFIXES, *pictures.SUFFIXES) if lower.endswith(suffix)), "")
