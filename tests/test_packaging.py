"""What an installed copy carries."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:  # Python 3.10 has no TOML reader of its own
    tomllib = pytest.importorskip("tomli")


def test_every_package_of_the_tree_is_installed(repository: Path) -> None:
    configured = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    listed = {name for name in configured["packages"] if not name.startswith("bundle.resources")}
    found = {
        ".".join(path.parent.relative_to(repository).parts) for path in (repository / "bundle").rglob("__init__.py")
    }
    assert listed == found


def test_an_installed_copy_carries_every_file_that_a_package_needs(repository: Path) -> None:
    from bundle.commands.package_bundle import FILES

    configured = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert configured["package-dir"]["bundle.resources"] == "."
    assert set(configured["package-data"]["bundle.resources"]) == set(FILES)
    assert all((repository / name).is_file() for name in FILES)


def test_scripts_are_fronts_to_known_verbs(repository: Path) -> None:
    from bundle.commands import VERBS

    fronts = {path.stem: path.read_text(encoding="utf-8") for path in (repository / "scripts").glob("*.py")}
    del fronts["__init__"]
    named = {verb for verb in VERBS for text in fronts.values() if f'run_verb("{verb}"' in text}
    assert named == set(VERBS)
    assert all("run_verb(" in text for text in fronts.values())
