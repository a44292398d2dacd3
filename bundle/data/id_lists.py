"""Lists of ids that a person gives: what has a label, and what is never to be chosen."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bundle.data.datalist import Datalist


def read_ids(path: Path) -> list[str]:
    """Ids from a text file with one a line, or from a CSV file with a column ``id``.

    Raises:
        ValueError: the file holds no id, or is no text in UTF-8.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # spreadsheets put a byte order mark first
    except UnicodeDecodeError:
        raise ValueError(f"{path} must be a text in UTF-8; save it so") from None
    header = next(csv.reader(lines[:1]), [])
    found = (row["id"] for row in csv.DictReader(lines)) if "id" in header else map(str.strip, lines)
    ids = [identifier for identifier in found if identifier]
    if not ids:
        raise ValueError(f"{path} must hold one id a line, or a CSV table with a column id; it holds none")
    return ids


def known_ids(path: Path, datalist: Datalist) -> set[str]:
    """The ids in a file; one the datalist does not know is refused, since a slip of the pen would waste a label."""
    ids = read_ids(path)
    known = {identifier for name in datalist.sections for identifier in datalist.ids(name)}
    unknown = [identifier for identifier in ids if identifier not in known]
    if unknown:
        raise ValueError(f"{path}: {len(unknown)} of {len(ids)} ids are not in the datalist, first {unknown[0]!r}")
    return set(ids)


def excluded_ids(datalist: Datalist, file: Path | None, section: Iterable[str] | None = None) -> set[str]:
    """Ids never to choose: those in a file, of validation and test, and other images of their patients.

    Args:
        file: see :func:`read_ids`; None for none.
        section: ids to choose from; the pool's by default.
    """
    listed = known_ids(file, datalist) if file else set()
    held = set(datalist.ids("pool") if section is None else section) - set(datalist.candidates())
    return listed | held | {*datalist.ids("validation"), *datalist.ids("test")}
