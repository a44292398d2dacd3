"""What is noted about images that are kept elsewhere, such as in an archive that takes no notes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bundle.run.atomic import write_json


class Notes:
    """Key and value pairs of ids, kept in a JSON file that every process of the server reads anew.

    Args:
        path: the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)

    def of(self, identifier: str) -> dict[str, Any]:
        """What is noted about an id; empty where nothing is."""
        return dict(self._load().get(identifier, {}))

    def add(self, identifier: str, more: Mapping[str, Any]) -> None:
        """Note something, in the place of what was noted under the same keys."""
        content = self._load()
        content[identifier] = {**content.get(identifier, {}), **more}
        write_json(self._path, content)

    def _load(self) -> dict[str, dict[str, Any]]:
        return json.loads(self._path.read_text(encoding="utf-8")) if self._path.is_file() else {}
