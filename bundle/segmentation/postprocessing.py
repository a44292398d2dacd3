"""From logits on the canvas to a mask of the image's own size."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms import Compose, MapTransform
from monai.utils import TraceKeys

from bundle.data.canvas import from_canvas
from bundle.data.modality import Modality
from bundle.segmentation.specks import without_specks


def postprocessing(modality: Modality | None = None, judge: Callable[[Any], Any] | None = None) -> Compose:
    """Undo the canvas of ``image`` for ``pred``, the likeliest class, and the shape that image writers want.

    Args:
        modality: tells which labels have parts, so that specks beside them are none; None leaves them.
        judge: looks at ``pred`` while it is on the canvas, see :class:`bundle.segmentation.trust.Judged`.

    Returns:
        A transform of ``pred``: (classes, size, size) logits to (W, H) uint8 class indices, or (1, W, H, 1) where the
        image file had three axes, as the DICOM readers of MONAI and MONAI Label have. ``image`` is what
        ``bundle.data.transforms.preprocessing`` gave. Threads may share it.
    """
    # Logits are scaled, not classes: the border between two classes is then drawn within the pixel.
    cleaned = [WithoutSpecksd("pred", modality)] if modality else []
    undone = [OffCanvasd("pred"), LikeliestClassd("pred"), ImageShaped("pred")]
    return Compose([*([judge] if judge else []), *cleaned, *undone])


class WithoutSpecksd(MapTransform):
    """Logits on the canvas without specks and holes, see :func:`bundle.segmentation.specks.without_specks`."""

    def __init__(self, keys: KeysCollection, modality: Modality) -> None:
        super().__init__(keys)
        self.modality = modality

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace the logits; metadata stay."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = without_specks(d[key], self.modality)
        return d


class OffCanvasd(MapTransform):
    """(C, size, size) to (C, W, H), where the trace of ``image`` tells its size before the canvas.

    MONAI's ``Invertd`` sets flags of the preprocessing while it inverts, so threads that share one would disturb each
    other, and it copies all metadata first.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Give every item the size, and the metadata, of the image."""
        d = dict(data)
        image = d["image"]
        trace = next(step for step in reversed(image.applied_operations) if step[TraceKeys.CLASS_NAME] == "FitCanvasd")
        width, height = map(int, trace[TraceKeys.ORIG_SIZE])
        for key in self.key_iterator(d):
            canvas = d[key].as_subclass(torch.Tensor)
            d[key] = MetaTensor(from_canvas(canvas, width, height), meta=image.meta)
        return d


class LikeliestClassd(MapTransform):
    """(classes, W, H) logits to (1, W, H) indices of the largest, of equal ones the first.

    Class by class over whole planes: ``torch.argmax`` goes through memory pixel by pixel and takes 20 times as long.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace the logits; metadata stay."""
        d = dict(data)
        for key in self.key_iterator(d):
            logits = d[key].as_subclass(torch.Tensor)
            best, found = logits[:1], torch.zeros_like(logits[:1], dtype=torch.uint8)
            for label in range(1, len(logits)):
                plane = logits[label : label + 1]
                found = torch.where(plane > best, label, found)
                best = torch.maximum(best, plane)
            d[key] = MetaTensor(found, meta=d[key].meta) if isinstance(d[key], MetaTensor) else found
        return d


class ImageShaped(MapTransform):
    """(1, W, H) classes to uint8 of as many axes as the file of ``image`` has.

    MONAI Label compares a result's axes with the image's and writes a PNG of one row if they differ.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Drop the channel, and keep a third axis of length 1 where the image has one."""
        d = dict(data)
        image = d["image"]
        shape = image.meta.get("spatial_shape", ()) if isinstance(image, MetaTensor) else ()
        for key in self.key_iterator(d):
            mask = d[key].to(torch.uint8)
            d[key] = mask[..., None] if len(shape) == 3 else mask[0]
        return d
