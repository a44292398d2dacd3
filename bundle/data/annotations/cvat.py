"""CVAT's own export, *CVAT for images 1.1*: an XML file with the objects of every image."""

from __future__ import annotations

import functools
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from bundle.data.annotations.annotation import Annotation, Grid
from bundle.data.annotations.names import LabelNames
from bundle.data.annotations.shapes import (
    Shape,
    Size,
    draw_shapes,
    ellipse_outline,
    place_pixels,
    polygon_pixels,
    run_length_pixels,
)
from bundle.data.identity import strip_suffix
from bundle.data.pictures import UnreadableImage

SUFFIX = ".xml"


def read_cvat(path: Path, names: LabelNames) -> list[Annotation]:
    """The images of a CVAT file that have an object at least.

    Polygons, masks and ellipses are drawn in the order of ``z_order``, later ones of the same order on top. An image
    without an object counts as not annotated; one with a tag of a label, such as ``background``, counts as annotated.

    Raises:
        UnreadableImage: no such file, in XML that declares entities, or of CVAT's video format.
    """
    root = _parse(path)
    if root.tag != "annotations":
        raise UnreadableImage(path, "the XML is no export of CVAT")
    if root.find("track") is not None:
        raise UnreadableImage(path, "a CVAT video export; export the task as 'CVAT for images 1.1'")
    found = []
    for image in root.iter("image"):
        if len(image):
            stem = strip_suffix(image.get("name", "").replace("\\", "/"))
            found.append(Annotation(path, functools.partial(_draw, image, names), image=stem, loose=True))
    return found


def _parse(path: Path) -> ElementTree.Element:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableImage(path, f"the XML cannot be read ({type(error).__name__})") from None
    # Entities can make a small file a huge one or bring other files in, and CVAT writes none.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise UnreadableImage(path, "the XML declares a document type, which exports of CVAT do not")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise UnreadableImage(path, f"the XML is broken ({type(error).__name__})") from None


def _draw(image: ElementTree.Element, names: LabelNames, grid: Grid) -> np.ndarray:
    size = int(_number(image, "height")), int(_number(image, "width"))
    if size != grid.size:  # whoever drew on another picture of that name must not be believed
        return np.zeros(size if min(size) > 0 and max(size) < 1 << 16 else (0, 0), dtype=np.uint8)
    objects = [(element, names.index(element.get("label", ""))) for element in image]
    ordered = sorted(objects, key=lambda pair: int(pair[0].get("z_order", 0)))  # stable: ties stay in their order
    shapes = [_shape(element, index) for element, index in ordered if index is not None and element.tag != "tag"]
    return draw_shapes(shapes, size)


def _shape(element: ElementTree.Element, index: int) -> Shape:
    if element.tag == "polygon":
        return Shape(index, functools.partial(polygon_pixels, _points(element)))
    if element.tag == "ellipse":
        centre, radii = ((_number(element, f"{c}x"), _number(element, f"{c}y")) for c in "cr")
        outline = ellipse_outline(centre, radii, float(element.get("rotation", 0)))
        return Shape(index, functools.partial(polygon_pixels, outline))
    if element.tag == "mask":
        return Shape(index, functools.partial(_mask_pixels, element))
    raise ValueError(
        f"a {element.tag[:32]} of label {element.get('label', '')[:64]!r} has no area to learn from; draw polygons, "
        f"masks or ellipses"
    )


def _mask_pixels(element: ElementTree.Element, size: Size) -> np.ndarray:
    left, top, width, height = (int(_number(element, name)) for name in ("left", "top", "width", "height"))
    if not (0 < height <= size[0] and 0 < width <= size[1]):
        raise ValueError(f"a mask of {width} x {height} must fit into its image of {size[1]} x {size[0]}")
    part = run_length_pixels([int(run) for run in element.get("rle", "").split(",")], (height, width))
    return place_pixels(part, left, top, size)


def _points(element: ElementTree.Element) -> np.ndarray:
    """``x,y;x,y;...`` as (N, 2)."""
    return np.array([[float(v) for v in pair.split(",")] for pair in element.get("points", "").split(";")])


def _number(element: ElementTree.Element, name: str) -> float:
    try:
        return float(element.get(name, ""))
    except ValueError:
        raise ValueError(f"a {element.tag[:32]} of CVAT must have the number {name!r}") from None
