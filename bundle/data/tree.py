"""A folder of images as it comes from an archive: folders in folders, DICOMDIR, links, zip archives.

What a zip archive holds is unpacked elsewhere and known by its path below the root all the same: ``export.zip/a.dcm``.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePosixPath

from bundle.data import archive, dicom
from bundle.data.frames import split_frame
from bundle.data.pictures import UnreadableImage
from bundle.run.claim import REQUEST
from bundle.run.quarantine import Quarantine
from bundle.run.record import FILE_NAME as RECORD

logger = logging.getLogger(__name__)

DRAWN = ("infer", "evaluate", "inspect_images", "run_rounds")  # stages that write pictures which are nobody's images
UNPACKED = "unpacked"  # the folder of what archives hold, beside the datalist or the masks


class ImageTree:
    """A data root, with the content of its zip archives where there are any.

    Args:
        images: the root; or a DICOMDIR, whose folder is the root; or a zip archive, whose content is.
        unpacked: where zip archives are unpacked; None leaves them alone.
        leave_out: folders that are not looked into.

    Attributes:
        root: absolute folder that paths are relative to.
        place: what a person calls so: the same, or the archive.

    Raises:
        ValueError: ``images`` is none of these.
    """

    def __init__(
        self, images: str | os.PathLike[str], *, unpacked: Path | None = None, leave_out: Collection[Path] = ()
    ) -> None:
        given = Path(images).resolve()
        self.unpacked = unpacked.resolve() if unpacked is not None else None
        self._leave_out = {folder for folder in (*leave_out, self.unpacked) if folder is not None}
        self._archive: Path | None = None
        if given.is_dir():
            self.root = self.place = given
        elif given.is_file() and archive.is_archive(given) and self.unpacked is not None:
            self._archive = self.place = given
            self.root = self.unpacked / given.name
        elif given.is_file() and dicom.is_directory(given):
            self.root = self.place = given.parent
        else:
            raise ValueError(f"images must be a folder, a zip archive or a DICOMDIR, got {images}")

    def files(self, quarantine: Quarantine) -> Iterator[Path]:
        """Every file, sorted within each folder; a DICOMDIR is no image, and what it lists in vain is set aside."""
        if self._archive is not None:
            yield from self._members(self._archive, self.root, quarantine)
            return

        def refused(error: OSError) -> None:
            quarantine.add(self.shown(Path(error.filename)), f"folder that cannot be opened: {error.strerror}")

        for path in self._images(walk(self.root, self._leave_out, refused=refused), quarantine):
            if archive.is_archive(path) and self.unpacked is not None:
                yield from self._members(path, self.unpacked / path.relative_to(self.root), quarantine)
            else:
                yield path

    def relative(self, path: Path) -> str:
        """A file's path below the root, with ``/``; of a member of an archive in the root that below the archive's."""
        inside = self._archive is None and self.unpacked is not None and path.is_relative_to(self.unpacked)
        return path.relative_to(self.unpacked if inside and self.unpacked else self.root).as_posix()

    def shown(self, path: Path) -> Path:
        """Where a person would look for a file: a member of an archive below the archive."""
        return self.place / self.relative(path)

    def holds(self, path: Path) -> bool:
        """Whether a file really lies in the tree, and is no link that leaves it."""
        real = split_frame(path)[0].resolve()
        return any(folder is not None and real.is_relative_to(folder) for folder in (self.root, self.unpacked))

    def _members(self, path: Path, folder: Path, quarantine: Quarantine) -> Iterator[Path]:
        """The files of the archive ``path``, unpacked into ``folder``."""
        try:
            for name, reason in archive.unpack(path, folder):
                quarantine.add(path / name.lstrip("/"), f"not unpacked: {reason}")
        except UnreadableImage as error:
            quarantine.add(path, f"not unpacked: {error.reason}")
            return
        for member in self._images(walk(folder), quarantine):
            if archive.is_archive(member):
                quarantine.add(self.shown(member), "not unpacked: a zip archive inside another one")
            else:
                yield member

    def _images(self, paths: Iterator[Path], quarantine: Quarantine) -> Iterator[Path]:
        """What may be an image or an archive of them: a DICOMDIR is neither."""
        for path in paths:
            if path.name.upper() == "DICOMDIR" and dicom.is_directory(path):
                self._check_directory(path, quarantine)
            else:
                yield path

    def _check_directory(self, path: Path, quarantine: Quarantine) -> None:
        try:
            listed = dicom.listed_files(path)
        except UnreadableImage as error:
            quarantine.add(self.shown(path), f"{error.kind}: {error.reason}")
            return
        # Discs are mounted with names in small letters, and with a version behind them.
        there = {_disc_name(file) for file in walk(path.parent)}
        for file in listed:
            if _disc_name(file) not in there:
                quarantine.add(self.shown(file), "missing: a DICOMDIR lists it")


def root_of(relative: str, root: Path, unpacked: Path | None) -> Path:
    """The folder that a path of :meth:`ImageTree.relative` is below: ``unpacked`` where it leads through an archive."""
    if unpacked is None:
        return root
    folders = list(PurePosixPath(relative).parents)
    return unpacked if any(archive.is_archive(Path(f.name)) and not (root / f).is_dir() for f in folders) else root


def walk(
    folder: Path,
    leave_out: Collection[Path] = (),
    *,
    drawn: bool = False,
    refused: Callable[[OSError], None] | None = None,
) -> Iterator[Path]:
    """All files below ``folder``, sorted within each folder, but hidden ones and those below ``leave_out``.

    Args:
        drawn: also the masks and drawings that a run has written into a folder below: among images they would be taken
            for further ones, while a person may have corrected them to masks.
        refused: told of every folder that cannot be opened; a warning in the log where None.
    """
    for place, folders, names in os.walk(folder, onerror=refused or _warn_of):
        here = Path(place)
        if not drawn and here != folder and (stage := _drawn_by(here, names)):
            logger.warning("%s holds what %s has written and is not looked into", here, stage)
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith(".") and here / name not in leave_out)
        for name in folders:
            if (here / name).is_symlink():
                logger.warning(
                    "%s is a link to a folder and is not followed; copy the folder itself (cp -rL)", here / name
                )
        yield from (here / name for name in sorted(names) if not name.startswith("."))


def _warn_of(error: OSError) -> None:
    logger.warning("%s cannot be opened and is left out: %s", error.filename, error.strerror)


def _drawn_by(folder: Path, names: Collection[str]) -> str | None:
    """The stage, one of ``DRAWN``, whose output a folder of these files is; None where it is none's."""
    for name in {RECORD, REQUEST}.intersection(names):
        try:
            content = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict) and content.get("stage") in DRAWN:
            return str(content["stage"])
    return None


def _disc_name(path: Path) -> str:
    return str(path).lower().split(";")[0]
