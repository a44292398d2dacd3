"""What is noted about images that are kept elsewhere, such as in an archive that takes no notes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bundle.run.atomic import write_json


class Notes:
    """Key and value pairs of ids, kept in a JSON file that every process of the server reads anew once it has changed.

    Args:
        path: the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._state: tuple[int, int, int] | None = None  # of the file when it was read last
        self._content: Mapping[str, dict[str, Any]] = {}

    def of(self, identifier: str) -> dict[str, Any]:
        """What is noted about an id; empty where nothing is."""
        return dict(self._load().get(identifier, {}))

    def add(self, identifier: str, more: Mapping[str, Any]) -> None:
        """Note something, in the place of what was noted under the same keys."""
        content = self._load()
        write_json(self._path, {**content, identifier: {**content.get(identifier, {}), **more}})

    def _load(self) -> Mapping[str, dict[str, Any]]:
        """The file's content, which nobody changes: a request asks for the notes of every image."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return {}
        state = (found.st_ino, found.st_mtime_ns, found.st_size)
        if self._state != state:
            self._content = json.loads(self._path.read_text(encoding="utf-8"))
            self._state = state
        return self._content
