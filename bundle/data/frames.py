"""One frame of a DICOM file as a path, ``FILE/frames/3``, as DICOMweb names it (PS3.18 10.4); counted from 1.

Nothing can lie below a file, so such a path is never that of another file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

FOLDER = "frames"
_PLACE = re.compile(rf"/{FOLDER}/[0-9]+$")


def frame_path(file: Path, number: int) -> Path:
    """The path of frame ``number``, from 1, of ``file``."""
    return file / FOLDER / str(number)


def split_frame(path: str | os.PathLike[str]) -> tuple[Path, int | None]:
    """The file, and the number of the frame that is meant, from 1; None where the path names a file alone."""
    path = Path(path)
    if _PLACE.search(path.as_posix()) and path.parents[1].is_file():
        return path.parents[1], int(path.name)
    return path, None


def split_name(name: str) -> tuple[str, str]:
    """A relative path as text, parted into the file and what names the frame: ``a.dcm/frames/3`` at ``/frames/3``."""
    found = _PLACE.search(name)
    return (name[: found.start()], found.group()) if found else (name, "")
