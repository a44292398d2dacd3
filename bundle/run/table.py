"""Tables as CSV with a header line, in UTF-8."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle.run.atomic import atomic_file


def write_csv(path: str | os.PathLike[str], rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> Path:
    """Write rows as CSV with a header line atomically and return the path. A key outside ``columns`` is an error."""
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, fieldnames=list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return Path(path)


def read_csv(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    """The rows of a table below its header line, column to text.

    Raises:
        OSError, UnicodeDecodeError, csv.Error: it cannot be opened, or is no such table.
    """
    with Path(path).open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))
