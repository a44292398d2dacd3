"""Who does which work, where several processes or machines share one folder and nothing else.

A claim is a file that only one can create. Its holder touches it every few seconds; a claim that nobody has touched for
a while is that of a dead one, and the next in line takes over. Work is such that doing it twice harms nobody: a holder
that was only asleep wakes up, finishes, and writes the same file once more.
"""

from __future__ import annotations

import os
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BEAT = 15.0  # seconds between two touches
EXPIRY = 150.0  # seconds without a touch after which a claim is dead; ten touches, since shared folders can stall
_POLL = 5.0
PATIENCE = 20.0  # seconds between two looks, where others do all that is left


class Claims:
    """The claims in one folder.

    Args:
        folder: made where it is not there.
        beat: seconds between two touches.
        expiry: seconds without a touch after which a claim is dead.
    """

    def __init__(self, folder: str | os.PathLike[str], *, beat: float = BEAT, expiry: float = EXPIRY) -> None:
        self.folder, self.beat, self.expiry = Path(folder), beat, expiry
        self.folder.mkdir(parents=True, exist_ok=True)
        self._clock = self.folder / f".clock.{uuid.uuid4().hex}"

    @contextmanager
    def hold(self, work: str) -> Iterator[bool]:
        """Claim ``work`` for the time inside ``with``; gives False where another one holds it.

        A claim won may be for work that was finished a moment before, so look at that again inside.
        """
        claim = self._take(work)
        if claim is None:
            yield False
            return
        done = threading.Event()
        keeper = threading.Thread(target=self._keep, args=(claim, done), daemon=True)
        keeper.start()
        try:
            yield True
        finally:
            done.set()
            keeper.join()
            claim.unlink(missing_ok=True)

    @contextmanager
    def wait(self, work: str) -> Iterator[None]:
        """Claim ``work``, waiting until whoever holds it has done it or died."""
        while True:
            with self.hold(work) as mine:
                if mine:
                    yield
                    return
            time.sleep(min(_POLL, self.expiry / 4))

    def _take(self, work: str) -> Path | None:
        """Create the claim that comes after the dead ones, or None where one lives.

        A dead claim is never removed to make room, since two could do so at once, the second removing the claim of the
        first. Instead the next number is created, which only one can.
        """
        taken = self._numbers(work)
        if taken and not self._dead(self._path(work, taken[-1])):
            return None
        claim = self._path(work, taken[-1] + 1 if taken else 0)
        try:
            claim.open("x").close()
        except FileExistsError:
            return None
        for number in taken:
            self._path(work, number).unlink(missing_ok=True)
        return claim

    def _numbers(self, work: str) -> list[int]:
        pattern = re.compile(re.escape(work) + r"\.(\d+)")
        return sorted(int(m[1]) for path in self.folder.iterdir() if (m := pattern.fullmatch(path.name)))

    def _path(self, work: str, number: int) -> Path:
        return self.folder / f"{work}.{number}"

    def _dead(self, claim: Path) -> bool:
        """Whether nobody has touched it for long, by the clock of the folder, which all machines share."""
        try:
            self._clock.touch()
            now = self._clock.stat().st_mtime
            return now - claim.stat().st_mtime > self.expiry
        except FileNotFoundError:
            return False  # given back this moment; the next look finds it free
        finally:
            self._clock.unlink(missing_ok=True)

    def _keep(self, claim: Path, done: threading.Event) -> None:
        while not done.wait(self.beat):
            with suppress(OSError):  # a folder that is away for a moment; the next touch may reach it
                os.utime(claim)
