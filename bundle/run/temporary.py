"""Temporary names: where a file or folder is made before it gets its own, and what a killed process left there."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# `.NAME.PID.HOST-TOKEN.tmp` is being written, `.NAME.PID.HOST-TOKEN.old` holds what steps aside for it.
TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<pid>\d+)\.((?P<host>[0-9a-f]{6})-)?[0-9a-f]{8}\.(?P<kind>tmp|old)(\..+)?")
_ABANDONED = 7 * 24 * 3600  # seconds after which what another machine left, whose processes are not in sight, is dead
_NAME_LENGTH = 48  # characters of a name that its temporary one keeps; names may have 255 bytes, 4 a character
_in_use: set[Path] = set()  # temporary paths of this process


@contextmanager
def temporary_path(target: Path, kind: str) -> Iterator[Path]:
    """A free name beside ``target``, whose folder is made, that :func:`clear_leftovers` knows."""
    target.parent.mkdir(parents=True, exist_ok=True)
    ending = "".join(suffix for suffix in target.suffixes[-2:] if len(suffix) <= 8) if kind == "tmp" else ""
    name = f".{target.name[:_NAME_LENGTH]}.{os.getpid()}.{_host()}-{secrets.token_hex(4)}.{kind}{ending}"
    path = target.with_name(name)
    _in_use.add(path)
    try:
        yield path
    finally:
        _in_use.discard(path)


def clear_leftovers(folder: str | os.PathLike[str], *, of: str | None = None, deep: bool = False) -> None:
    """Remove what killed processes left half-written in ``folder``, and put back what had only stepped aside.

    Only temporary names are looked at, and of these only such whose process is gone. On a drive that several machines
    or containers share the others' processes are not in sight: what they left goes after a week.

    Args:
        folder: where to look; it need not be there.
        of: leave alone what was to become another name than this.
        deep: look into the folders below as well.
    """
    for place, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            match = TEMPORARY.fullmatch(name)
            path = Path(place, name)
            if match is None or path in _in_use or (of is not None and match["name"] != of[:_NAME_LENGTH]):
                continue
            if _is_alive(int(match["pid"])) if match["host"] in (None, _host()) else _is_recent(path):
                continue
            if match["kind"] == "old":
                for kept in path.iterdir():
                    if not Path(place, kept.name).exists():
                        kept.replace(Path(place, kept.name))
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)  # another process may be at it, too
            else:
                path.unlink(missing_ok=True)
        folders[:] = [name for name in folders if deep and not name.startswith(".")]


@functools.cache
def _host() -> str:
    """What tells machines, and containers of one, apart: 6 hex digits."""
    try:
        processes = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        processes = ""
    return hashlib.sha256(f"{platform.node()}:{processes}".encode()).hexdigest()[:6]


def _is_recent(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime < _ABANDONED
    except OSError:  # gone meanwhile
        return True


def _is_alive(process: int) -> bool:
    """Whether another process of this machine has that number. Our own number is that of a run that is over."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
