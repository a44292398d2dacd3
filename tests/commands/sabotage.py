"""Faults at the system's own door: Python tells an audit hook of every file that is about to be opened or renamed."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_RENAMES = ("os.rename", "os.link")
_STEPS = (*_RENAMES, "os.mkdir", "os.remove", "os.rmdir")
_watch: Callable[[str, tuple], None] | None = None
_hooked = False
_lasting = ExitStack()  # what lasts until the process ends


@contextmanager
def watched(below: Path, act: Callable[[int], None], *, every_step: bool = False) -> Iterator[list[str]]:
    """Call ``act`` with a number from 1 on right before each rename below a folder, and list what is renamed.

    What a run writes becomes its result by a rename, so before each of them all is written and nothing is there.

    Args:
        every_step: before every opening for writing, new folder and removal as well.
    """
    global _watch, _hooked
    root, seen = str(below), list[str]()

    def watch(event: str, given: tuple) -> None:
        if event not in (_STEPS if every_step else _RENAMES) and not (
            every_step and event == "open" and _writes(given)
        ):
            return
        paths = [os.fspath(path) for path in given[:2] if isinstance(path, (str, os.PathLike))]
        if any(path.startswith(root) for path in paths if isinstance(path, str)):
            seen.append(f"{event} {paths[-1]}")
            act(len(seen))

    _watch = watch
    if not _hooked:
        sys.addaudithook(lambda event, given: _watch(event, given) if _watch is not None else None)
        _hooked = True
    try:
        yield seen
    finally:
        _watch = None


def full_disk_at(number: int) -> Callable[[int], None]:
    """The disk is full at that write, and at every later one."""

    def act(now: int) -> None:
        if now >= number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return act


def kill_at(below: Path, number: int) -> None:
    """From now on this process dies by SIGKILL right before its ``number``-th step below a folder."""

    def act(now: int) -> None:
        if now == number:
            os.kill(os.getpid(), signal.SIGKILL)

    _lasting.enter_context(watched(below, act, every_step=True))


def limit_file_size(limit: int) -> None:
    """From now on no file of this process gets larger than ``limit`` bytes."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def limit_memory(more: int) -> None:
    """This process may take ``more`` bytes than it has, and its training asks for twice that in its fourth step."""
    import resource

    import torch
    from ignite.engine import Engine, Events

    from bundle.run.resume import Resume

    attach = Resume.attach

    def ask() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, resource.RLIM_INFINITY))
        torch.empty(2 * more, dtype=torch.uint8)

    def attach_with_limit(self: Resume, engine: Engine) -> None:
        attach(self, engine)
        engine.add_event_handler(Events.ITERATION_STARTED(once=4), ask)

    Resume.attach = attach_with_limit  # type: ignore[method-assign]


def kill_workers() -> None:
    """From now on a process that loads data for this one dies by SIGKILL at its first image."""
    from torch.utils.data import get_worker_info

    from bundle.data.reader import ClinicalReader

    read = ClinicalReader.get_data

    def read_or_die(self: ClinicalReader, img: Path) -> object:
        if get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return read(self, img)

    ClinicalReader.get_data = read_or_die  # type: ignore[method-assign,assignment]


def _writes(given: tuple) -> bool:
    mode, flags = given[1], given[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR)) and mode != "r"
