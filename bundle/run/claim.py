"""The folder of a request: its own from the first write on, so that it can go on after a kill and mixes with none."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bundle.run.atomic import OutputExists, retire_folder, write_json
from bundle.run.temporary import TEMPORARY, clear_leftovers

REQUEST = "request.json"


def claim_folder(folder: str | os.PathLike[str], request: Mapping[str, Any], *, overwrite: bool) -> Path:
    """Make ``folder`` this request's own. The same request may come back and goes on; another one is refused.

    Args:
        folder: where the run writes.
        request: what was asked for, kept as ``request.json``.
        overwrite: remove what another request left.

    Raises:
        OutputExists: the folder holds something else, and ``overwrite`` is false.
        ValueError: it holds something that no request left, such as a person's images, or that another command made,
            or that the request is to read, and ``overwrite`` is true.
    """
    folder = Path(folder)
    wanted = json.loads(json.dumps(dict(request), default=str))
    found = folder / REQUEST
    clear_leftovers(folder.parent, of=folder.name)
    clear_leftovers(folder, deep=True)
    # A request alone is one that failed before it made anything; its correction may take the place.
    if folder.exists() and any(path != found and not TEMPORARY.fullmatch(path.name) for path in folder.iterdir()):
        same = found.is_file() and json.loads(found.read_text(encoding="utf-8")) == wanted
        if same and not overwrite:
            return folder
        if not overwrite:
            raise OutputExists(folder)
        if not found.is_file():
            raise ValueError(
                f"{folder} holds files that no run has made; --overwrite leaves it alone, give another place"
            )
        _check_loss(folder, json.loads(found.read_text(encoding="utf-8")), wanted)
        retire_folder(folder)
    write_json(found, wanted)
    return folder


def _check_loss(folder: Path, made: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse to remove what another command has made, or what this request is to read."""
    if made.get("stage") != wanted.get("stage"):
        raise ValueError(
            f"{folder} was made by {made.get('stage')}; --overwrite replaces what the same command has made, give "
            "another place"
        )
    values = [item for value in wanted.values() for item in (value if isinstance(value, list) else [value])]
    for value in values:
        path = Path(value).absolute() if isinstance(value, str) else folder.absolute()
        if path != folder.absolute() and path.is_relative_to(folder.absolute()) and path.exists():
            raise ValueError(f"{path} is to be read and lies in {folder}, which would be replaced; give another place")
