"""Ids of images and of patients: what every table, embedding, selection and report carries instead of row numbers.

A picture's id is its path below the data root without suffix. A DICOM file's id is a keyed hash of its
SOPInstanceUID, and its group one of its PatientID, so that neither can be read back or looked up in a list of all
possible numbers without the key, which stays in a private file beside the datalist.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
import stat
import unicodedata
from pathlib import Path, PurePosixPath

from bundle.data import dicom, pictures
from bundle.data.frames import split_frame, split_name
from bundle.data.groups import Tie
from bundle.run.atomic import write_secret

logger = logging.getLogger(__name__)

KEY_FILE = "identity.key"
DIGITS = 20  # hex digits, 80 bits: a million images collide with a chance of 4e-13
NOT_PLAIN = "name with a line break, a control character or bytes that are no UTF-8: rename it"  # see is_plain
_SUFFIXES = (".nii.gz", *pictures.SUFFIXES, *dicom.SUFFIXES, ".nii")


def strip_suffix(name: str) -> str:
    """A name without the suffix of an image format; another dot, as in a UID that names a file, stays.

    Of a frame the file's suffix goes: ``a.dcm/frames/3`` becomes ``a/frames/3``.
    """
    file, frame = split_name(name)
    lower = file.lower()
    for suffix in _SUFFIXES:
        if lower.endswith(suffix) and len(file.rsplit("/", 1)[-1]) > len(suffix):
            return file[: -len(suffix)] + frame
    return name


def derive_id(path: str | os.PathLike[str], root: str | os.PathLike[str]) -> str:
    """The id of a picture: its path below ``root`` with ``/`` between the parts, without suffix.

    Raises:
        ValueError: ``path`` is not below ``root``.
    """
    try:
        relative = Path(path).relative_to(root)
    except ValueError:
        raise ValueError(f"image {path} must lie below the data root {root} to get an id") from None
    return strip_suffix(relative.as_posix())


def is_plain(name: str) -> bool:
    """Whether a table can hold a name in one line: no control character, and nothing that UTF-8 cannot write."""
    return not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name)


def path_of_id(folder: str | os.PathLike[str], identifier: str, suffix: str) -> Path:
    """The file of an id below ``folder``; an id with folders in it makes folders.

    Raises:
        ValueError: the id would lead out of the folder. Ids that are no paths of ours, as DICOM identifiers that are
            kept as they are, may hold anything.
    """
    relative = PurePosixPath(identifier)
    if relative.is_absolute() or ".." in relative.parts or not relative.name or "\0" in identifier:
        raise ValueError(f"id {identifier!r} would leave the output folder; ids are relative paths without '..'")
    return Path(folder) / relative.parent / f"{relative.name}{suffix}"


class Pseudonyms:
    """Keyed hashes (HMAC-SHA256) of identifiers.

    Args:
        key_file: where the secret is. It is made at first use, readable by its owner alone (mode 0600); keep it to
            get the same ids again for the same files, remove it to break the link for good.
        keep: give identifiers back as they are, for data that carry no real ones.
    """

    def __init__(self, key_file: str | os.PathLike[str], *, keep: bool = False) -> None:
        self._key_file = Path(key_file)
        self._keep = keep
        self._key: bytes | None = None

    def of(self, kind: str, identifier: str) -> str:
        """The pseudonym of ``identifier``; the same text under another ``kind`` has another one."""
        if self._keep:
            return identifier
        if self._key is None:
            self._key = _load_key(self._key_file)
        return hmac.new(self._key, f"{kind}\0{identifier}".encode(), hashlib.sha256).hexdigest()[:DIGITS]


def identify_dicom(path: str | os.PathLike[str], pseudonyms: Pseudonyms) -> tuple[str, tuple[Tie, ...]]:
    """Id of a DICOM file, or of one of its frames (``<id>-0003`` is the third), and what ties it to other images.

    Without a SOPInstanceUID the id is taken from the file's bytes. The ties are its patient, its study and, of a frame,
    its file, as far as they are told.

    Raises:
        UnreadableImage: the header cannot be read.
    """
    file, frame = split_frame(path)
    header = dicom.read_header(file)
    uid = str(header.get("SOPInstanceUID") or "").strip()
    if not uid:
        uid = hashlib.sha256(file.read_bytes()).hexdigest()
    identifier = pseudonyms.of("image", uid) + (f"-{frame:04d}" if frame else "")
    owners = {
        "patient": str(header.get("PatientID") or "").strip(),
        "study": str(header.get("StudyInstanceUID") or "").strip(),
        "file": uid if frame else "",
    }
    return identifier, tuple((kind, pseudonyms.of(kind, owner)) for kind, owner in owners.items() if owner)


def group_by_rule(identifier: str, rule: str) -> str | None:
    """The group of an id by a regular expression: its first capture group, or the whole match; None where it fails.

    Raises:
        ValueError: ``rule`` is no regular expression.
    """
    try:
        match = re.search(rule, identifier)
    except re.error as error:
        raise ValueError(f"--group must be a regular expression, got {rule!r}: {error}") from None
    if match is None:
        return None
    return (match.group(1) if match.re.groups else match.group(0)) or None


def _load_key(path: Path) -> bytes:
    """The secret in ``path``, made where there is none; two runs at once agree on one."""
    if not path.exists() and write_secret(path, secrets.token_hex(32) + "\n"):
        logger.info("made the key of the pseudonyms at %s; keep it private", path)
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        logger.warning("%s can be read by others than its owner; run chmod 600 on it", path)
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except ValueError:
        key = b""
    if len(key) < 16:
        raise ValueError(f"{path} must hold a key of at least 32 hex digits; put the right file back or remove it")
    return key
