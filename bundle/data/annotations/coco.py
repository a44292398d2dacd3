"""COCO's JSON for instances: polygons and run lengths of every image."""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bundle.data.annotations.annotation import Annotation, Grid
from bundle.data.annotations.names import LabelNames
from bundle.data.annotations.shapes import Shape, Size, draw_shapes, polygon_pixels, run_length_pixels
from bundle.data.identity import strip_suffix
from bundle.data.pictures import UnreadableImage

SUFFIX = ".json"


def read_coco(path: Path, names: LabelNames) -> list[Annotation]:
    """The images of a COCO file that have an object at least; of objects that overlap the later one is on top.

    The polygons of one object are added up: COCO has them for an object of several parts.

    Raises:
        UnreadableImage: no JSON of that form.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        categories = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
        images = {entry["id"]: entry for entry in content["images"]}
        objects: defaultdict[Any, list[Mapping[str, Any]]] = defaultdict(list)
        for entry in content["annotations"]:
            objects[entry["image_id"]].append(entry)
        stems = {key: strip_suffix(str(entry["file_name"]).replace("\\", "/")) for key, entry in images.items()}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnreadableImage(path, f"the JSON holds no COCO instances ({type(error).__name__})") from None
    return [
        Annotation(
            path, functools.partial(_draw, images[key], objects[key], categories, names), image=stems[key], loose=True
        )
        for key in images
        if key in objects
    ]


def _draw(
    image: Mapping[str, Any],
    objects: Sequence[Mapping[str, Any]],
    categories: Mapping[Any, str],
    names: LabelNames,
    grid: Grid,
) -> np.ndarray:
    try:
        size = int(image["height"]), int(image["width"])
        if size != grid.size:
            return np.zeros(size if min(size) > 0 and max(size) < 1 << 16 else (0, 0), dtype=np.uint8)
        shapes = []
        for entry in objects:
            index = names.index(categories[entry["category_id"]])
            if index is not None:
                shapes.append(Shape(index, functools.partial(_pixels, entry.get("segmentation"))))
        return draw_shapes(shapes, size)
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"an object of the COCO file is broken ({type(error).__name__})") from None


def _pixels(segmentation: Any, size: Size) -> np.ndarray:
    if isinstance(segmentation, Mapping):
        if list(segmentation["size"]) != list(size):
            raise ValueError(f"run lengths must be of the image's rows and columns {size}, got {segmentation['size']}")
        counts = segmentation["counts"]
        runs = decode_counts(counts) if isinstance(counts, str) else counts
        return run_length_pixels(runs, size, by_column=True)
    if not segmentation:
        raise ValueError("an object has a box and no segmentation; draw polygons or masks")
    parts = [polygon_pixels(np.reshape(np.asarray(part, dtype=float), (-1, 2)), size) for part in segmentation]
    return np.logical_or.reduce(parts)


def decode_counts(text: str) -> list[int]:
    """Run lengths from COCO's text form.

    A number is groups of five bits, the lowest first, each a character from code 48 up; bit six says that another group
    follows, and bit five of the last group is the sign. From the fourth number on it is the difference to the one two
    before.

    Raises:
        ValueError: a character outside of the code, or a text that ends within a number.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError("compressed run lengths must be characters from '0' to 'o', got another one")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("compressed run lengths end within a number")
    return runs
