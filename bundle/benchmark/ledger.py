"""The finished runs of a benchmark: a file each, written whole, under a name that is the hash of the run's settings.

Nothing is ever appended to a file that another process writes, so no row can be lost or torn, on whatever file system
the folder lies. What has other settings has another name, so rows never mix.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bundle.benchmark.scoring import Scores
from bundle.run.atomic import write_json
from bundle.run.record import content_fingerprint


def run_key(settings: Mapping[str, Any]) -> str:
    """The name of a run: 20 hex digits of the SHA-256 of its settings, in which the order of the keys plays no part."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return content_fingerprint([text]).removeprefix("sha256:")[:20]


class Ledger:
    """The finished runs below a folder, which many processes may share.

    Args:
        folder: gets ``rows/KEY.json``, the settings and results of a run, and ``scores/KEY.npz``, the scores of every
            test image.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.rows_folder, self.scores_folder = Path(folder) / "rows", Path(folder) / "scores"

    def __contains__(self, key: str) -> bool:
        return self._path(key).is_file()

    def add(
        self, settings: Mapping[str, Any], results: Mapping[str, Any], scores: Scores, about: Mapping[str, Any]
    ) -> None:
        """Keep a finished run; the row comes last, so where it is there its scores are too.

        Args:
            settings: all that makes it this run and no other.
            results: its figures.
            scores: of every test image.
            about: what made it: machine, versions.
        """
        key = run_key(settings)
        scores.save(self.scores_folder / f"{key}.npz")
        row = {"run": key, "settings": dict(settings), "results": dict(results), "about": dict(about)}
        write_json(self._path(key), row)

    def row(self, key: str) -> dict[str, Any]:
        """One finished run as ``run``, ``settings``, ``results`` and ``about``.

        Raises:
            ValueError: the file is no row.
        """
        path = self._path(key)
        try:
            row = json.loads(path.read_text(encoding="utf-8"))
            return {name: row[name] for name in ("run", "settings", "results", "about")}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is no row ({error}): remove it, and its run is done again") from None

    def rows(self) -> list[dict[str, Any]]:
        """Every finished run, see :meth:`row`, sorted by ``run``."""
        return [self.row(path.stem) for path in sorted(self.rows_folder.glob("[0-9a-f]*.json"))]

    def scores(self, key: str) -> Scores:
        """The scores of every test image of a run."""
        return Scores.load(self.scores_folder / f"{key}.npz")

    def _path(self, key: str) -> Path:
        return self.rows_folder / f"{key}.json"
