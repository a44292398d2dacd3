"""The images of a studies folder, one file an id, as a datalist of the folder would have them."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from bundle.data.identity import strip_suffix
from bundle.data.inventory import find_images, namesakes, without_companions
from bundle.data.modality import Modality
from bundle.data.pictures import UnreadableImage
from bundle.data.reader import image_size
from bundle.data.tree import ImageTree
from bundle.run.quarantine import Quarantine


class FolderImages:
    """Which files of a folder are its images, and under which ids.

    Unlike a datalist it keeps copies under other names, since each is owed an answer, and decodes only those files that
    compete for an id: a server lists its folder with every "next sample". So a preview stays aside even where the DICOM
    file beside it turns out to be broken.

    Args:
        root: resolved folder.
        modality: what kind of images.
        leave_out: folders below that are not looked into.
    """

    def __init__(self, root: Path, modality: Modality, leave_out: Collection[Path] = ()) -> None:
        self._tree, self._modality = ImageTree(root, leave_out=leave_out), modality
        self._seen: list[tuple[Path, str]] = []
        self._chosen: dict[str, Path] = {}
        self._passed_over = Quarantine(root)

    def find(self, aside: Quarantine) -> dict[str, Path]:
        """Id, which is the path below the root without suffix, to file, by path. The rest goes to ``aside``."""
        candidates = find_images(self._tree, self._modality, aside, mask_files=set())
        seen = [(path, stamp_of(path)) for path in candidates]
        if seen != self._seen:
            self._passed_over.rows.clear()
            self._chosen = self._choose(candidates, self._passed_over)
            self._seen = seen
        aside.rows += self._passed_over.rows
        return dict(self._chosen)

    def _choose(self, candidates: list[Path], aside: Quarantine) -> dict[str, Path]:
        """Of files with one id the first by path that can be read."""
        images = without_companions(candidates, self._tree, aside)
        competing = set(namesakes(images))
        chosen: dict[str, Path] = {}
        for path in images:
            identifier = strip_suffix(self._tree.relative(path))
            if identifier in chosen:
                aside.add(path, f"same id: {self._tree.relative(chosen[identifier])} has it already")
            elif path in competing and (fault := self._fault(path)):
                aside.add(path, fault)
            else:
                chosen[identifier] = path
        return chosen

    def _fault(self, path: Path) -> str:
        """Why a file is no image; empty where it is one."""
        try:
            image_size(path, self._modality)
        except UnreadableImage as error:
            return f"{error.kind}: {error.reason}"
        return ""


def stamp_of(path: str | os.PathLike[str]) -> str:
    """Size and time of change of a file, which differ when it was replaced; empty where it is gone."""
    try:
        status = Path(path).stat()
    except OSError:
        return ""
    return f"{status.st_size}:{status.st_mtime_ns}"
