"""A folder of images as it comes from an archive: folders in folders, DICOMDIR, links, zip archives.

What a zip archive holds is unpacked elsewhere and known by its path below the root all the same: ``export.zip/a.dcm``.
"""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath

from bundle.data import archive, dicom
from bundle.data.frames import split_frame
from bundle.data.pictures import UnreadableImage
from bundle.run.claim import REQUEST
from bundle.run.quarantine import Quarantine
from bundle.run.record import FILE_NAME as RECORD
from bundle.run.record import file_fingerprint

logger = logging.getLogger(__name__)

DRAWN = ("infer", "evaluate", "inspect_images", "run_rounds")  # stages that write pictures which are nobody's images
UNPACKED = "unpacked"  # the folder of what archives hold, beside the datalist or the masks
_KEY_DIGITS = 16  # hex digits of an archive's fingerprint, 64 bits: a million archives collide with a chance of 3e-8


class ImageTree:
    """A data root, with the content of its zip archives where there are any.

    Args:
        images: the root; or a DICOMDIR, whose folder is the root; or a zip archive, whose content is.
        unpacked: where zip archives are unpacked; None leaves them alone.
        leave_out: folders that are not looked into.

    Attributes:
        root: absolute folder that paths are relative to.
        place: what a person calls so: the same, or the archive.
        archives: path below ``root`` of every archive met so far to the folder below ``unpacked`` that has its content.
            The folder is named by the archive's bytes, so another archive of the name never takes its place.

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
        self._fingerprints: dict[Path, str] = {}
        self.archives: dict[str, str] = {}
        if given.is_dir():
            self.root = self.place = given
        elif given.is_file() and archive.is_archive(given) and self.unpacked is not None:
            self._archive = self.place = given
            self.root = self.unpacked / self._key(given) / given.name
        elif given.is_file() and dicom.is_directory(given):
            self.root = self.place = given.parent
        else:
            raise ValueError(f"images must be a folder, a zip archive or a DICOMDIR, got {images}")

    def files(self, quarantine: Quarantine) -> Iterator[Path]:
        """Every file, sorted within each folder; a DICOMDIR is no image, and what it lists in vain is set aside."""
        if self._archive is not None:
            yield from self._members(self._archive, self.root, quarantine)
            return

        def refused(path: Path, reason: str) -> None:
            quarantine.add(self.shown(path), reason)

        for path in self._images(walk(self.root, self._leave_out, refused=refused), quarantine):
            if archive.is_archive(path) and self.unpacked is not None:
                yield from self._unpacked_members(path, self.unpacked, quarantine)
            else:
                yield path

    def relative(self, path: Path) -> str:
        """A file's path below the root, with ``/``; of a member of an archive in the root that below the archive's."""
        if self._archive is None and self.unpacked is not None and path.is_relative_to(self.unpacked):
            return PurePosixPath(*path.relative_to(self.unpacked).parts[1:]).as_posix()
        return path.relative_to(self.root).as_posix()

    def path_of(self, relative: str) -> Path:
        """The file of a path of :meth:`relative`, once :meth:`files` has met its archive."""
        return root_of(relative, self.root, self.unpacked, self.archives) / relative

    def shown(self, path: Path) -> Path:
        """Where a person would look for a file: a member of an archive below the archive."""
        return self.place / self.relative(path)

    def holds(self, path: Path) -> bool:
        """Whether a file really lies in the tree, and is no link that leaves it."""
        real = split_frame(path)[0].resolve()
        return any(folder is not None and real.is_relative_to(folder) for folder in (self.root, self.unpacked))

    def _key(self, path: Path) -> str:
        """The name of the folder of an archive's content: a part of the fingerprint, which is taken once."""
        if path not in self._fingerprints:
            self._fingerprints[path] = file_fingerprint(path)
        return self._fingerprints[path].removeprefix("sha256:")[:_KEY_DIGITS]

    def _unpacked_members(self, path: Path, unpacked: Path, quarantine: Quarantine) -> Iterator[Path]:
        """The files of an archive among the images."""
        relative = path.relative_to(self.root)
        try:
            key = self._key(path)
        except OSError:
            quarantine.add(self.shown(path), "not unpacked: the file cannot be opened")
            return
        self.archives[relative.as_posix()] = key
        yield from self._members(path, unpacked / key / relative, quarantine)

    def _members(self, path: Path, folder: Path, quarantine: Quarantine) -> Iterator[Path]:
        """The files of the archive ``path``, unpacked into ``folder``."""
        try:
            for name, reason in archive.unpack(path, folder, source=self._fingerprints.get(path)):
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
        """What may be an image or an archive of them: a DICOMDIR is neither, nor an archive that cannot be read."""
        for path in paths:
            if path.name.upper() == "DICOMDIR" and dicom.is_directory(path):
                self._check_directory(path, quarantine)
            elif archive.is_packed_otherwise(path) and not dicom.is_dicom(path):
                quarantine.add(self.shown(path), "not unpacked: of archives only .zip is read; unpack it")
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


def root_of(relative: str, root: Path, unpacked: Path | None, archives: Mapping[str, str] | None) -> Path:
    """The folder that a path of :meth:`ImageTree.relative` is below: where it leads through an archive, that one's.

    Args:
        relative: the path.
        root: of the images.
        unpacked: what archives were unpacked into; None where there are none.
        archives: as of :class:`ImageTree`; None of a datalist that was made when all lay in ``unpacked`` itself.
    """
    if unpacked is None:
        return root
    folders = list(PurePosixPath(relative).parents)
    if archives is not None:
        return next((unpacked / archives[str(folder)] for folder in folders if str(folder) in archives), root)
    return unpacked if any(archive.is_archive(Path(f.name)) and not (root / f).is_dir() for f in folders) else root


def walk(
    folder: Path,
    leave_out: Collection[Path] = (),
    *,
    drawn: bool = False,
    refused: Callable[[Path, str], None] | None = None,
) -> Iterator[Path]:
    """All files below ``folder``, sorted within each folder, but hidden ones and those below ``leave_out``.

    A named pipe, a socket or a device is no file: to read one may wait for ever.

    Args:
        drawn: also the masks and drawings that a run has written into a folder below: among images they would be taken
            for further ones, while a person may have corrected them to masks.
        refused: told of every folder that cannot be opened and of what is no file, with the reason; a warning in the
            log where None.
    """
    tell = refused or _warn_of

    def closed(error: OSError) -> None:
        tell(Path(error.filename), f"folder that cannot be opened: {error.strerror}")

    for place, folders, names in os.walk(folder, onerror=closed):
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
        for path in (here / name for name in sorted(names) if not name.startswith(".")):
            if _is_special(path):
                tell(path, "no file: a named pipe, a socket or a device")
            else:
                yield path


def _warn_of(path: Path, reason: str) -> None:
    logger.warning("%s is left out: %s", path, reason)


def _is_special(path: Path) -> bool:
    """Whether a path is there and is no regular file; a link that leads nowhere is left to those who open it."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _drawn_by(folder: Path, names: Collection[str]) -> str | None:
    """The stage, one of ``DRAWN``, whose output a folder of these files is; None where it is none's."""
    for name in {RECORD, REQUEST}.intersection(names):
        if _is_special(folder / name):
            continue
        try:
            content = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict) and content.get("stage") in DRAWN:
            return str(content["stage"])
    return None


def _disc_name(path: Path) -> str:
    return str(path).lower().split(";")[0]
