"""One image as one person annotated it, whatever the file it comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np


@dataclasses.dataclass(frozen=True)
class Grid:
    """The pixels of an image that an annotation is drawn on.

    Attributes:
        height: rows.
        width: columns.
        affine: (4, 4), (column, row, 0) to mm in RAS, where the image's file holds one; None for pictures and DICOM.
    """

    height: int
    width: int
    affine: np.ndarray | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns), the shape of a mask."""
        return self.height, self.width


@dataclasses.dataclass(frozen=True)
class Annotation:
    """What a file says of one image.

    Attributes:
        source: the file.
        draw: the mask on a grid, (H, W) uint8 class indices. Raises ``UnreadableImage`` where the file is broken and
            ValueError where it breaks a rule; a mask of another size is given as it is.
        image: the image's path without suffix as the file tells it, ``/`` between the parts; empty where it tells a
            ``uid``.
        uid: SOPInstanceUID of the image; empty where it tells a path.
        frame: number of the image's frame, from 1; None where it tells none.
        loose: the file may know a path with other folders before it, or none, as exports of annotation servers do.
    """

    source: Path
    draw: Callable[[Grid], np.ndarray]
    image: str = ""
    uid: str = ""
    frame: int | None = None
    loose: bool = False
