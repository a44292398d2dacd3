"""The folder of a run, read back: every part is optional, and a broken file is a part that is absent.

::

    RUN/
        datalist.json, quarantine.csv
        pretrain/     history.csv, policies.json, run.json
        embeddings/   vectors.npy, ids.txt, provenance.json
        selection/    selection.csv, diagnostics.json, run.json
        NAME/         one folder a training run: history.csv, run.json,
                      evaluation/ with per_image.csv, summary.json, overlays/*.png
        predictions/  masks, predictions.csv
"""

from __future__ import annotations

import contextlib
import csv
import functools
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from bundle.report.blocks import Absent
from bundle.report.style import run_order
from bundle.run.table import read_csv

STAGES = ("pretrain", "embeddings", "selection", "predictions")  # every other folder is a training run


class RunFolder:
    """Reads parts of a run on demand.

    Args:
        folder: the run's folder.

    Raises:
        ValueError: the folder is not there.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path = Path(folder)
        if not self.path.is_dir():
            raise ValueError(f"{self.path} is no folder; give the folder that a run wrote")

    def json(self, name: str) -> dict[str, Any]:
        """The mapping in a JSON file of the run.

        Raises:
            Absent: no such file, or it holds no mapping.
        """
        try:
            content = json.loads(self._existing(name).read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise Absent(f"{name} cannot be read: {error}") from error
        if not isinstance(content, dict):
            raise Absent(f"{name} must hold a mapping, got {type(content).__name__}")
        return content

    def rows(self, name: str, *, may_be_empty: bool = False) -> list[dict[str, str]]:
        """The lines of a CSV file of the run.

        Raises:
            Absent: no such file, or no line below its header unless it ``may_be_empty``.
        """
        try:
            found = read_csv(self._existing(name))
        except (ValueError, OSError, csv.Error) as error:
            raise Absent(f"{name} cannot be read: {error}") from error
        rows = [{key: value or "" for key, value in row.items() if key} for row in found]
        if not rows and not may_be_empty:
            raise Absent(f"{name} has no rows")
        return rows

    def records(self) -> dict[str, dict[str, Any]]:
        """Stage's folder, below the run's, to its ``run.json``, in the order in which the stages started."""
        found = {}
        for file in self.path.rglob("run.json"):
            place = file.relative_to(self.path)
            # Three levels reach NAME/evaluation/run.json; a hidden folder is one that is still being written.
            if len(place.parts) <= 3 and not any(part.startswith(".") for part in place.parts):
                try:
                    found[str(place.parent)] = self.json(str(place))
                except Absent:
                    continue
        return dict(sorted(found.items(), key=lambda pair: (str(pair[1].get("started", "")), pair[0])))

    def training_runs(self) -> list[str]:
        """Names of the folders that hold a training run or its evaluation, in the order of :func:`run_order`."""
        return run_order(
            folder.name
            for folder in self.path.iterdir()
            if folder.is_dir()
            and folder.name not in STAGES
            and not folder.name.startswith(".")
            and ((folder / "history.csv").is_file() or (folder / "evaluation" / "per_image.csv").is_file())
        )

    @functools.cached_property
    def modality(self) -> str | None:
        """Name of the modality, from the datalist or the first record that tells it; None where nothing does."""
        contents = [dict(mapping(record.get("settings"))) for record in self.records().values()]
        with contextlib.suppress(Absent):
            contents.insert(0, self.json("datalist.json"))
        return next((str(content["modality"]) for content in contents if content.get("modality")), None)

    @property
    def modality_name(self) -> str:
        """The modality in a word, also where the user's own is given by a path; empty where nothing tells it."""
        return PurePath(self.modality).stem if self.modality else ""

    @functools.cached_property
    def image_paths(self) -> dict[str, Path]:
        """Id to file of every image of the datalist; empty without one."""
        from bundle.data.datalist import load_datalist

        try:
            datalist = load_datalist(self._existing("datalist.json"))
        except (Absent, ValueError, OSError):
            return {}
        return datalist.image_paths()

    def _existing(self, name: str) -> Path:
        path = self.path / name
        if not path.is_file():
            raise Absent(f"{name} is not there")
        return path


def mapping(content: Any) -> Mapping[str, Any]:
    """An entry of a file that should be a mapping; an empty one where it is absent or anything else."""
    return content if isinstance(content, Mapping) else {}


def finite(value: Any) -> bool:
    """Whether an entry of a file is a number that can be shown."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def numbers(rows: Sequence[Mapping[str, str]], column: str) -> np.ndarray:
    """(n,) float64 of a column; NaN where a cell is empty, missing or no number."""
    return np.array([_number(row.get(column)) for row in rows])


def _number(text: str | None) -> float:
    try:
        return float(text) if text else float("nan")
    except ValueError:
        return float("nan")
