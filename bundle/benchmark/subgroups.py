"""Groups of the test images in which a model may do better or worse: site, skin tone, image size."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bundle.benchmark.arms import short
from bundle.benchmark.images import TestImages
from bundle.benchmark.skin_tone import DARKEST, TONES, tone, typology_angle
from bundle.data.canvas import canvas_box
from bundle.data.datalist import Datalist
from bundle.data.modality import Modality
from bundle.data.split import KEPT_COLUMNS
from bundle.run.atomic import write_csv

SMALLEST_GROUP = 5  # images; of fewer a mean says little, and they might be recognised
_SIZES = ("small third", "middle third", "large third")


def write_cases(folder: Path, data: str, datalist: Datalist, test: TestImages, modality: Modality) -> Path:
    """Write what groups the test images, ``cases/DATA.csv``: id, width, height, ita, and where known site and so on.

    Args:
        folder: of the benchmark.
        data: fingerprint of the images.
    """
    rows = []
    for position, entry in enumerate(datalist.section("test")):
        width, height = test.sizes[position]
        angle = _skin_angle(test, position) if modality.reader == "picture" and modality.channels == 3 else math.nan
        ita = "" if math.isnan(angle) else round(angle, 2)
        known = {name: entry.get(name, "") for name in KEPT_COLUMNS}
        rows.append({"id": entry["id"], "width": width, "height": height, "ita": ita, **known})
    return write_csv(_cases_file(folder, data), rows, ["id", "width", "height", "ita", *KEPT_COLUMNS])


def has_cases(folder: Path, data: str) -> bool:
    """Whether what groups the test images is there."""
    return _cases_file(folder, data).is_file()


def read_groups(folder: Path, data: str) -> dict[str, dict[str, list[str]]]:
    """Kind of group to its groups to their ids; kinds with a single group, and groups that are too small, left out."""
    file = _cases_file(folder, data)
    if not file.is_file():
        return {}
    with file.open(newline="", encoding="utf-8") as handle:
        cases = {row["id"]: row for row in csv.DictReader(handle)}
    named: dict[str, dict[str, str]] = {
        column: {identifier: row[column] for identifier, row in cases.items() if row[column]} for column in KEPT_COLUMNS
    }
    named["skin tone"] = {identifier: tone(float(row["ita"])) for identifier, row in cases.items() if row["ita"]}
    named["image size"] = _thirds({i: int(row["width"]) * int(row["height"]) for i, row in cases.items()})
    order = {name: rank for rank, name in enumerate([*(name for name, _ in TONES), DARKEST, *_SIZES])}
    found: dict[str, dict[str, list[str]]] = {}
    for kind, group_of in named.items():
        groups: dict[str, list[str]] = {}
        for identifier in sorted(group_of):
            groups.setdefault(group_of[identifier], []).append(identifier)
        large = {name: ids for name, ids in groups.items() if len(ids) >= SMALLEST_GROUP}
        if len(groups) > 1 and large:
            found[kind] = {name: large[name] for name in sorted(large, key=lambda name: (order.get(name, -1), name))}
    return found


def _cases_file(folder: Path, data: str) -> Path:
    return folder / "cases" / f"{short(data)}.csv"


def _skin_angle(test: TestImages, position: int) -> float:
    """On the canvas without its padding, where a hair or a reflex weighs little."""
    canvas, mask = test.canvases[position], test.mask(position).numpy()
    left, top, width, height = canvas_box(mask.shape[0], mask.shape[1], canvas.shape[-1])
    picture = canvas[:, left : left + width, top : top + height].permute(1, 2, 0).numpy()
    columns, rows = ((np.arange(n) + 0.5) / n for n in (width, height))
    nearest = np.ix_((columns * mask.shape[0]).astype(int), (rows * mask.shape[1]).astype(int))
    return typology_angle(picture, mask[nearest] > 0)


def _thirds(pixels: Mapping[str, int]) -> dict[str, str]:
    """Id to the third its number of pixels lies in; all in one group where the images have one size."""
    if len(set(pixels.values())) < 2:
        return dict.fromkeys(pixels, "one size")
    bounds = np.quantile(list(pixels.values()), [1 / 3, 2 / 3])
    return {identifier: _SIZES[int((bounds < count).sum())] for identifier, count in pixels.items()}
