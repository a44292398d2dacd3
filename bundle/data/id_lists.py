"""Lists of ids that a person gives: what has a label, and what is never to be chosen."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bundle.data.datalist import Datalist


FORMS = "one id a line, a CSV table with a column id, a JSON list of ids or a datalist with a training section"


def read_ids(path: Path) -> list[str]:
    """Ids from a text file with one a line, from a CSV file with a column ``id``, or from a ``.json`` file.

    JSON is a list of ids, or a datalist such as selection.json, of which those of the training section are taken. Ids
    are as the file has them, blanks around them included.

    Raises:
        ValueError: the file holds no id, or is no text in UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets put a byte order mark first
    except UnicodeDecodeError:
        raise ValueError(f"{path} must be a text in UTF-8; save it so") from None
    ids = [identifier for identifier in _ids_in(text, path) if identifier.strip()]
    if not ids:
        raise ValueError(f"{path} must hold {FORMS}; it holds none")
    return ids


def known_ids(path: Path, datalist: Datalist) -> set[str]:
    """The ids in a file; one the datalist does not know is refused, since a slip of the pen would waste a label.

    Blanks around an id are left out, but where the datalist has them as well.
    """
    ids = read_ids(path)
    known = {identifier for name in datalist.sections for identifier in datalist.ids(name)}
    meant = [identifier if identifier in known else identifier.strip() for identifier in ids]
    unknown = [identifier for identifier in meant if identifier not in known]
    if unknown:
        raise ValueError(f"{path}: {len(unknown)} of {len(ids)} ids are not in the datalist, first {unknown[0]!r}")
    return set(meant)


def excluded_ids(datalist: Datalist, file: Path | None, section: Iterable[str] | None = None) -> set[str]:
    """Ids never to choose: those in a file, of validation and test, and other images of their patients.

    Args:
        file: see :func:`read_ids`; None for none.
        section: ids to choose from; the pool's by default.
    """
    listed = known_ids(file, datalist) if file else set()
    held = set(datalist.ids("pool") if section is None else section) - set(datalist.candidates())
    return listed | held | {*datalist.ids("validation"), *datalist.ids("test")}


def _ids_in(text: str, path: Path) -> list[str]:
    if path.suffix.lower() == ".json":
        return _ids_in_json(text, path)
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    header = next(csv.reader(lines[:1]), [])
    return [row["id"] or "" for row in csv.DictReader(lines)] if "id" in header else lines


def _ids_in_json(text: str, path: Path) -> list[str]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} must hold {FORMS}; it is no JSON: {error}") from None
    entries = content.get("training") if isinstance(content, dict) else content
    if isinstance(entries, list):
        found = [entry.get("id") if isinstance(entry, dict) else entry for entry in entries]
        ids = [identifier for identifier in found if isinstance(identifier, str)]
        if len(ids) == len(found):
            return ids
    raise ValueError(f"{path} must hold {FORMS}; as JSON it holds neither of the last two")
