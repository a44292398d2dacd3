"""How much memory a piece of work takes (Linux)."""

from __future__ import annotations

import threading
from pathlib import Path

_GLANCE = 0.02  # seconds between two looks


class PeakMemory:
    """The greatest private memory of this process while inside ``with``, by looking at it again and again.

    Attributes:
        before: GiB when it began; None where the system does not tell.
        gibibytes: GiB at the highest; None where the system does not tell.
    """

    before: float | None = None
    gibibytes: float | None = None

    @property
    def added(self) -> float | None:
        """GiB that came on top of what was there."""
        return None if self.gibibytes is None or self.before is None else self.gibibytes - self.before

    def __enter__(self) -> PeakMemory:
        self.before = self.gibibytes = _private_memory()
        self._done = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watch.join()

    def _look(self) -> None:
        while (now := _private_memory()) is not None:
            self.gibibytes = max(self.gibibytes or 0.0, now)
            if self._done.wait(_GLANCE):
                return


def _private_memory() -> float | None:
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    sizes = [line.split()[1] for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("RssAnon:")]
    return int(sizes[0]) / 2**20 if sizes else None
