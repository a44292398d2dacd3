"""Groups of images in which a model may do better or worse: site, device, view, skin tone, image size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from bundle.data.canvas import cut_padding
from bundle.data.modality import Modality
from bundle.data.split import KEPT_COLUMNS
from bundle.segmentation.metrics import SCORES, summarise
from bundle.segmentation.skin_tone import DARKEST, TONES, tone, typology_angle

SMALLEST_GROUP = 5  # images; of fewer a mean says little, and they might be recognised
CASE_COLUMNS = ("id", "width", "height", "ita", *KEPT_COLUMNS)
GROUP_COLUMNS = ("kind", "group", "images", "dice", "dice_low", "dice_high", "jaccard", "hd95")
_SIZES = ("small third", "middle third", "large third")


def case_of(entry: Mapping[str, Any], canvas: torch.Tensor, lesion: torch.Tensor, modality: Modality) -> dict[str, Any]:
    """What puts an image into groups.

    Args:
        entry: of the datalist; its ``id``, and what a split table told of site, device and view.
        canvas: (C, size, size) in [0, 1], as the network sees the image.
        lesion: (W, H) true or not 0 where a mask at the image's own size is.
        modality: tells whether there is skin to look at.

    Returns:
        The keys of ``CASE_COLUMNS``; ``width`` and ``height`` in pixels, ``ita`` the angle of
        :func:`~bundle.segmentation.skin_tone.typology_angle`, rounded. What is not known is "".
    """
    width, height = lesion.shape
    angle = _skin_angle(canvas.numpy(), lesion.numpy() > 0) if modality.skin else math.nan
    known = {name: entry.get(name, "") for name in KEPT_COLUMNS}
    ita = "" if math.isnan(angle) else round(angle, 2)
    return {"id": entry["id"], "width": width, "height": height, "ita": ita, **known}


def subgroups(cases: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, list[str]]]:
    """Kind of group to its groups to their ids; kinds with a single group, and groups that are too small, left out.

    Args:
        cases: of :func:`case_of`, or as they come back from a CSV file.
    """
    named: dict[str, dict[str, str]] = {name: {} for name in (*KEPT_COLUMNS, "skin tone")}
    pixels: dict[str, int] = {}
    for case in cases:
        identifier = case["id"]
        pixels[identifier] = int(case["width"]) * int(case["height"])
        for column in KEPT_COLUMNS:
            if case[column]:
                named[column][identifier] = case[column]
        if case["ita"] != "":
            named["skin tone"][identifier] = tone(float(case["ita"]))
    named["image size"] = _thirds(pixels)
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


def summarise_groups(
    rows: Sequence[Mapping[str, Any]], groups: Mapping[str, Mapping[str, Sequence[str]]], *, seed: int = 0
) -> list[dict[str, Any]]:
    """Mean scores of each group, with the bootstrap interval of the Dice: a row a group, keys of ``GROUP_COLUMNS``.

    Args:
        rows: one per image, with ``id`` and the keys of ``SCORES``.
        groups: of :func:`subgroups`.
        seed: of the bootstrap.
    """
    scored = {row["id"]: {name: row[name] for name in SCORES} for row in rows}
    table = []
    for kind, members in groups.items():
        for group, ids in members.items():
            found = summarise([scored[identifier] for identifier in ids], seed=seed)
            means = {name: found[name]["mean"] for name in SCORES}
            interval = {"dice_low": found["dice"]["low"], "dice_high": found["dice"]["high"]}
            table.append({"kind": kind, "group": group, "images": len(ids), **means, **interval})
    return table


def _skin_angle(canvas: np.ndarray, lesion: np.ndarray) -> float:
    """On the canvas without its padding, where a hair or a reflex weighs little."""
    picture = cut_padding(canvas, *lesion.shape).transpose(1, 2, 0)
    columns, rows = ((np.arange(n) + 0.5) / n for n in picture.shape[:2])
    nearest = np.ix_((columns * lesion.shape[0]).astype(int), (rows * lesion.shape[1]).astype(int))
    return typology_angle(picture, lesion[nearest])


def _thirds(pixels: Mapping[str, int]) -> dict[str, str]:
    """Id to the third its number of pixels lies in; all in one group where the images have one size."""
    if len(set(pixels.values())) < 2:
        return dict.fromkeys(pixels, "one size")
    bounds = np.quantile(list(pixels.values()), [1 / 3, 2 / 3])
    return {identifier: _SIZES[int((bounds < count).sum())] for identifier, count in pixels.items()}
