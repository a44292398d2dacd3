"""The system refuses a write: what a person can do about it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bundle.run.temporary import TEMPORARY

# What a person can do about a write that the system refuses.
_REMEDIES = {
    errno.ENOSPC: "free some space there or give another place, then run the same command again",
    errno.EDQUOT: "free some of your quota or give another place, then run the same command again",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f), then run the same command again",
    errno.EROFS: "give a place that can be written to",
    errno.EACCES: "give a place that you may write to, or get the right to write there",
    errno.EPERM: "give a place that you may write to, or get the right to write there",
    errno.ENOTDIR: "a part of the path is a file; give another place",
    errno.ENAMETOOLONG: "the name is too long for this file system; give a shorter one",
}


class CannotWrite(OSError):
    """The system refused a write: the disk is full, the place is read-only and the like."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"{path} cannot be written ({error.strerror}): {_REMEDIES[error.errno or 0]}")
        self.path, self.errno, self.strerror = path, error.errno, error.strerror

    def __str__(self) -> str:
        return str(self.args[0])


@contextmanager
def refusals_told(target: Path) -> Iterator[None]:
    """Turn the system's refusal to write at ``target`` into one that says what to do."""
    try:
        yield
    except CannotWrite as error:
        if any(map(TEMPORARY.fullmatch, error.path.parts)):  # a name that nobody will find
            raise CannotWrite(target, error) from error
        raise
    except OSError as error:
        # With a name it may be another file, such as an input that cannot be read.
        ours = error.filename is None or Path(os.fsdecode(error.filename)).is_relative_to(target.parent)
        parent = error.filename is not None and target.is_relative_to(os.fsdecode(error.filename))
        if error.errno not in _REMEDIES or not (ours or parent):
            raise
        raise CannotWrite(target, error) from error
