"""Zip archives of an export, unpacked so that no member gets out of its folder or fills the disk."""

from __future__ import annotations

import json
import logging
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from lzma import LZMAError
from pathlib import Path, PurePosixPath

from bundle.data import nifti
from bundle.data.pictures import UnreadableImage
from bundle.run.atomic import atomic_folder, write_json
from bundle.run.record import file_fingerprint

logger = logging.getLogger(__name__)

SUFFIX = ".zip"
PACKED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".tar", ".tgz", ".tbz2", ".txz", ".7z", ".rar")  # not read
MARK = ".unpacked.json"  # in the folder: of which archive it is, and what was left out
MOST_MEMBERS = 200_000
MOST_EXPANSION = 50  # times the archive's own size: radiographs shrink two- to fivefold, a bomb a thousandfold
ALWAYS_ALLOWED = 1 << 30  # bytes; a small archive of nearly empty images is no danger
MOST_IN_A_MEMBER = 4 << 30  # bytes; more than any image that is read
_BLOCK = 1 << 20
_BROKEN = (zipfile.BadZipFile, zlib.error, LZMAError, EOFError, NotImplementedError, RuntimeError, OSError)


def is_archive(path: Path) -> bool:
    """Whether a file is named as zip archives are."""
    return path.name.lower().endswith(SUFFIX)


def is_packed_otherwise(path: Path) -> bool:
    """Whether a file is named as an archive, or a compressed file, that is not read; ``.nii.gz`` is a NIfTI image."""
    name = path.name.lower()
    return name.endswith(PACKED_SUFFIXES) and not name.endswith(nifti.SUFFIXES)


def unpack(archive: Path, folder: Path, *, source: str | None = None) -> list[tuple[str, str]]:
    """Unpack ``archive`` into ``folder``, whole or not at all; one that is there of the same archive stays.

    Only the owner can look into the folder. Links, encrypted members and those whose name leads out of the folder are
    left out, hidden ones without a word. A backslash parts folders, as old systems wrote it.

    Args:
        archive: the file.
        folder: what becomes the folder of its content.
        source: its fingerprint, where it is known already.

    Returns:
        name and reason of every member that was left out.

    Raises:
        UnreadableImage: no zip archive, or one that would grow beyond the limits of this module.
        OSError: the disk has not the room for it.
    """
    source = source or file_fingerprint(archive)
    known = _known(folder, source)
    if known is not None:
        return known
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.filename.endswith(("/", "\\"))]
            _check_size(archive, members, folder)
            with atomic_folder(folder, overwrite=folder.exists(), mark=MARK) as temporary:
                temporary.chmod(stat.S_IRWXU)
                left_out = _write_members(opened, members, temporary)
                write_json(temporary / MARK, {"archive": source, "left_out": left_out})
    except zipfile.BadZipFile:
        raise UnreadableImage(archive, "the zip archive is broken or cut short") from None
    return left_out


def _known(folder: Path, source: str) -> list[tuple[str, str]] | None:
    """What was left out when this archive was unpacked into the folder before; None where it was not."""
    try:
        content = json.loads((folder / MARK).read_text(encoding="utf-8"))
        return [(name, reason) for name, reason in content["left_out"]] if content["archive"] == source else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _check_size(archive: Path, members: list[zipfile.ZipInfo], folder: Path) -> None:
    """The sizes that members declare bound what is written: zipfile gives no byte more."""
    if len(members) > MOST_MEMBERS:
        raise UnreadableImage(archive, f"a zip archive may hold {MOST_MEMBERS} files, this holds {len(members)}")
    total = sum(member.file_size for member in members)
    limit = max(ALWAYS_ALLOWED, MOST_EXPANSION * archive.stat().st_size)
    if total > limit:
        raise UnreadableImage(archive, f"the zip archive would grow to {total} bytes, above its limit of {limit}")
    place = next(parent for parent in folder.parents if parent.exists())
    free = shutil.disk_usage(place).free
    if total > free:
        raise OSError(f"{archive.name} needs {total} bytes, {place} has {free}; free some or give another --out")


def _write_members(opened: zipfile.ZipFile, members: list[zipfile.ZipInfo], folder: Path) -> list[tuple[str, str]]:
    left_out = []
    files: set[PurePosixPath] = set()
    folders: set[PurePosixPath] = set()
    for member in members:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        if any((part.startswith(".") and not part.startswith("..")) or part == "__MACOSX" for part in name.parts):
            continue
        reason = _reason_against(member, name)
        if reason is None and (name in files or name in folders or not files.isdisjoint(name.parents)):
            reason = "another member has its name"
        if reason is None:
            reason = _write_member(opened, member, folder / name)
        if reason is None:
            files.add(name)
            folders.update(name.parents)
        else:
            left_out.append((member.filename, reason))
    return left_out


def _reason_against(member: zipfile.ZipInfo, name: PurePosixPath) -> str | None:
    if not name.parts:
        return "it has no name"
    # Another system may take a colon for what leads elsewhere.
    if name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
        return "its name leads out of the archive"
    if any(len(os.fsencode(part)) > 255 for part in name.parts):
        return "its name is longer than a file system takes"
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
        return "it is a link or a device"
    if member.flag_bits & 1:
        return "it is encrypted"
    if member.file_size > MOST_IN_A_MEMBER:
        return f"it has {member.file_size} bytes, the limit is {MOST_IN_A_MEMBER}"
    return None


def _write_member(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> str | None:
    """Write a member; what is damaged leaves no file. An error of the disk is the caller's."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with target.open("xb") as handle:
            for block in _blocks(opened, member):
                handle.write(block)
    except _Damaged:
        target.unlink()
        return "it is damaged, or compressed in a way that is not known"
    return None


def _blocks(opened: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    try:
        with opened.open(member) as source:
            while block := source.read(_BLOCK):
                yield block
    except _BROKEN:
        raise _Damaged from None


class _Damaged(Exception):
    pass
