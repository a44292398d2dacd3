"""Print what the MONAI Label environment needs, one requirement a line: pyproject.toml's, with the extra ``label``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:  # pip, which is what runs next, carries the same reader
    from pip._vendor import tomli as tomllib


def requirements(pyproject: Path, extra: str) -> list[str]:
    """The project's own requirements, then those of the extra."""
    project: dict[str, Any] = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *project["optional-dependencies"][extra]]


if __name__ == "__main__":
    print("\n".join(requirements(Path(__file__).resolve().parent.parent.parent / "pyproject.toml", "label")))
