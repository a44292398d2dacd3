"""Which release of this package a bundle on disk was made for."""

from __future__ import annotations

import json
import os
from pathlib import Path

from bundle import __version__


def require_release(bundle_root: str | os.PathLike[str]) -> str:
    """The version of the bundle at ``bundle_root``, which must be that of the package in memory.

    Every packaged bundle carries a package called ``bundle``, and one process has room for one of that name. A server
    that loads several bundles runs all of them on the first one's code.

    Raises:
        ValueError: the bundle is of another version.
    """
    metadata = Path(bundle_root) / "configs" / "metadata.json"
    if not metadata.is_file():  # configs on their own, beside no bundle
        return __version__
    version = str(json.loads(metadata.read_text(encoding="utf-8"))["version"])
    if version != __version__:
        raise ValueError(
            f"the bundle {metadata.parent.parent} is of version {version}, but the package `bundle` in this process is "
            f"{__version__} (from {Path(__file__).parent.parent}); bundles of one version can share a process: package "
            f"it again with that version, or start a process of its own for it"
        )
    return version
