"""Bad input is named, set aside and counted; the rest goes on."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from pathlib import Path

from bundle.run.table import read_csv, write_csv

logger = logging.getLogger(__name__)

FILE_NAME = "quarantine.csv"
MOST_KINDS = 8  # that one line tells of


class Quarantine:
    """What a run set aside, in the order met: a path, below the data root where there is one, and one reason each."""

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        self._root = Path(root) if root is not None else None
        self.rows: list[dict[str, str]] = []

    def add(self, path: str | os.PathLike[str], reason: str) -> None:
        """Set ``path`` aside for ``reason``."""
        shown = Path(path)
        if self._root is not None and shown.is_relative_to(self._root):
            shown = shown.relative_to(self._root)
        # A name may hold line breaks, and bytes that are no UTF-8.
        text = re.sub(r"[\x00-\x1f\x7f\u2028\u2029]", lambda found: repr(found[0])[1:-1], str(shown))
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
        self.rows.append({"path": text, "reason": " ".join(reason.split())})

    def __len__(self) -> int:
        return len(self.rows)

    def counts(self) -> dict[str, int]:
        """How many by reason, up to its first colon; the most frequent first."""
        return dict(Counter(row["reason"].split(":")[0] for row in self.rows).most_common())

    def summary(self) -> str:
        """One line for a person, counted by reason: the most frequent ones, and how many other kinds there are."""
        counts = self.counts()
        kinds = [f"{n} × {kind}" for kind, n in list(counts.items())[:MOST_KINDS]]
        if len(counts) > MOST_KINDS:
            kinds.append(f"and {len(counts) - MOST_KINDS} more kinds")
        return f"{len(self)} set aside" + (f" ({', '.join(kinds)})" if kinds else "")

    def write(self, folder: str | os.PathLike[str], *, becomes: str | os.PathLike[str] | None = None) -> Path:
        """Write ``quarantine.csv`` (path, reason) into ``folder``, also when empty: an old one would mislead.

        Args:
            folder: where it goes.
            becomes: the name that the folder will have, where it has a temporary one.
        """
        return self._write(folder, self.rows, becomes or folder)

    def append(self, folder: str | os.PathLike[str]) -> Path:
        """Add the rows to the ``quarantine.csv`` that an earlier step of the same run has written."""
        earlier: list[dict[str, str]] = []
        file = Path(folder) / FILE_NAME
        if file.is_file():
            earlier = read_csv(file)
        return self._write(folder, earlier + self.rows, folder)

    def _write(self, folder: str | os.PathLike[str], rows: list[dict[str, str]], shown: str | os.PathLike[str]) -> Path:
        path = write_csv(Path(folder) / FILE_NAME, rows, ["path", "reason"])
        if self.rows:
            logger.warning("%s; see %s", self.summary(), Path(shown) / FILE_NAME)
        return path
