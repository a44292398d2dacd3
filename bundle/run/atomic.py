"""Writes that are whole or absent: everything goes to a temporary name first and is then renamed."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bundle.run.refusal import refusals_told
from bundle.run.temporary import clear_leftovers, temporary_path


class OutputExists(FileExistsError):
    """The output is already there and the caller did not ask to replace it."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is already there; give another place or add --overwrite")


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success it becomes ``path``, on an exception it is removed.

    The temporary name keeps the suffix, since writers such as PIL and nibabel choose the format by it.
    """
    with _becoming(Path(path), Path.replace) as temporary:
        yield temporary


@contextmanager
def atomic_new_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """As :func:`atomic_file`, for a file that must not be there yet: none is replaced, whoever makes it meanwhile.

    Raises:
        FileExistsError: it is there, or something that the file system takes for the same name.
    """
    with _becoming(Path(path), _take_free_name) as temporary:
        yield temporary


@contextmanager
def atomic_folder(
    path: str | os.PathLike[str], *, overwrite: bool = False, mark: str = "run.json", stage: str | None = None
) -> Iterator[Path]:
    """Give a temporary folder beside ``path``; on success it becomes ``path``, on an exception it is removed.

    To overwrite is to delete, so only what an earlier run of the same kind has left is overwritten: a slip in a name
    must cost nobody their images or their trained weights.

    Args:
        path: the folder to make.
        overwrite: replace what an earlier run has left there.
        mark: a file below the folder that tells an output of this kind; a folder without it is left alone.
        stage: the stage that the mark, a run record, must name; None takes any.

    Raises:
        OutputExists: ``path`` is a non-empty folder or a file, and ``overwrite`` is false.
        ValueError: it is there, ``overwrite`` is true, and it is no output of this kind.
        CannotWrite: the system refuses it.
    """
    target = Path(path)
    clear_leftovers(target.parent, of=target.name)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        if not overwrite:
            raise OutputExists(target)
        _check_replaceable(target, mark, stage)
    with refusals_told(target), temporary_path(target, "tmp") as temporary:
        temporary.mkdir()
        try:
            yield temporary
            if target.exists():
                _replace_folder(target, temporary)
            else:
                temporary.replace(target)
        finally:
            if temporary.exists():
                shutil.rmtree(temporary)


def retire_folder(folder: str | os.PathLike[str]) -> None:
    """Remove a folder: its name is free at once, and a kill on the way leaves nothing half-removed under it."""
    with temporary_path(Path(folder), "tmp") as aside:
        Path(folder).replace(aside)
        shutil.rmtree(aside)


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write UTF-8 text atomically and return the path."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def write_secret(path: str | os.PathLike[str], text: str) -> bool:
    """Write ASCII text that its owner alone may read (mode 0600), unless the file is there.

    Returns:
        Whether it was written. Of several processes at once one writes, and all read what that one wrote.
    """
    target = Path(path)
    with refusals_told(target), temporary_path(target, "tmp") as temporary:
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(temporary, target)  # unlike a rename it never replaces
            except FileExistsError:
                return False
            except OSError:  # a file system without hard links
                temporary.replace(target)
            return True
        finally:
            temporary.unlink(missing_ok=True)


def write_json(path: str | os.PathLike[str], content: Any) -> Path:
    """Write JSON atomically, keys in the order given, and return the path."""
    return write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_tensors(path: str | os.PathLike[str], content: Mapping[str, Any]) -> Path:
    """Write what ``torch.save`` takes, atomically, and return the path.

    torch's own writer reports a full disk as an error of its format, so the bytes are made in memory first.
    """
    import torch  # two seconds, and most stages write no tensors

    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    with atomic_file(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())
    return Path(path)


@contextmanager
def _becoming(target: Path, name: Callable[[Path, Path], object]) -> Iterator[Path]:
    """Give a temporary path beside ``target``, and on success ``name`` it so, once its content is on the disk."""
    with refusals_told(target), temporary_path(target, "tmp") as temporary:
        try:
            yield temporary
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            name(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)


def _take_free_name(temporary: Path, target: Path) -> None:
    try:
        os.link(temporary, target)  # unlike a rename it never replaces
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: an empty file holds the name
        target.touch(exist_ok=False)
        temporary.replace(target)


def _check_replaceable(target: Path, mark: str, stage: str | None) -> None:
    """Raise ValueError unless ``target`` is a folder with the mark, of that stage."""
    if not (target / mark).is_file():
        raise ValueError(
            f"{target} is not replaced: it holds no {mark}, so no such run has made it; give another place or remove "
            f"it yourself"
        )
    if stage is None:
        return
    try:
        found = json.loads((target / mark).read_text(encoding="utf-8"))["stage"]
    except (OSError, ValueError, KeyError, TypeError):
        found = None
    if found != stage:
        raise ValueError(
            f"{target} is not replaced: its {mark} must be of the stage {stage}, got {found!r}; give another place or "
            f"remove it yourself"
        )


def _replace_folder(target: Path, new: Path) -> None:
    """``new`` becomes ``target``. A folder cannot be renamed over a full one, so the old one steps aside first."""
    with temporary_path(target, "old") as aside:
        aside.mkdir()
        try:
            target.replace(aside / target.name)
            try:
                new.replace(target)
            except BaseException:
                (aside / target.name).replace(target)
                raise
        finally:
            shutil.rmtree(aside)
