"""Who works on which image, so that two annotators at once never draw the same one."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bundle.run.atomic import write_json


class Leases:
    """Images that were handed out, each to one annotator and for a while.

    Kept in a file, so that a restarted server remembers.

    Args:
        path: the file.
        minutes: how long an image is kept for whom it was handed to.
        clock: seconds since 1970.
    """

    def __init__(self, path: str | os.PathLike[str], minutes: float, *, clock: Callable[[], float] = time.time) -> None:
        self._path, self._seconds, self._clock = Path(path), 60 * minutes, clock
        self._held: dict[str, tuple[str, float]] = {}  # id: annotator, since when
        if self._path.is_file():
            content = json.loads(self._path.read_text(encoding="utf-8"))
            self._held = {image: (who, since) for image, (who, since) in content.items()}

    def take(self, order: Sequence[str], annotator: str) -> str | None:
        """Hand out the first image of ``order`` that nobody has, or None where others have all of them.

        An annotator who asks again without a label has passed over the image at hand and gets another. When only those
        passed over are left they come again, the one longest ago first. An annotator without a name (``""``) cannot be
        told from another one, and gets nothing again before its time is up.
        """
        now = self._clock()
        self._held = {i: (who, since) for i, (who, since) in self._held.items() if since + self._seconds > now}
        chosen = next((image for image in order if image not in self._held), None)
        if chosen is None and annotator:
            wanted = set(order)
            own = [(since, i) for i, (who, since) in self._held.items() if who == annotator and i in wanted]
            chosen = min(own)[1] if own else None
        if chosen is not None:
            self._held[chosen] = (annotator, now)
            self._write()
        return chosen

    def renew(self, image: str) -> None:
        """Start the time of a lease anew: somebody is at the image, who may draw longer than a lease lasts."""
        if image in self._held:
            self._held[image] = (self._held[image][0], self._clock())
            self._write()

    def give_back(self, image: str) -> None:
        """End the lease of ``image``, if there is one: it is labelled now, or set aside."""
        if self._held.pop(image, None) is not None:
            self._write()

    def _write(self) -> None:
        write_json(self._path, self._held)
