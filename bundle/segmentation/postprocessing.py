"""From logits on the canvas to a mask of the image's own size."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms import Activationsd, AsDiscreted, Compose, Invertd, MapTransform


def postprocessing(preprocessing: Compose) -> Compose:
    """Undo the canvas, softmax, the likeliest class, and the shape that image writers want.

    Args:
        preprocessing: what brought ``image`` onto the canvas; it is inverted for ``pred``.

    Returns:
        A transform of ``pred``: (classes, size, size) logits to (W, H) uint8 class indices, or (1, W, H, 1) where the
        image file had three axes, as the DICOM readers of MONAI and MONAI Label have.
    """
    return Compose(
        [
            # Logits are scaled, not classes: the border between two classes is then drawn within the pixel.
            Invertd("pred", preprocessing, orig_keys="image", nearest_interp=False, to_tensor=True),
            Activationsd("pred", softmax=True),
            AsDiscreted("pred", argmax=True),
            ImageShaped("pred"),
        ]
    )


class ImageShaped(MapTransform):
    """(1, W, H) classes to uint8 of the file's own number of axes.

    MONAI Label compares a result's axes with the reference's and writes a PNG of one row if they differ.
    """

    def __init__(self, keys: KeysCollection, reference: str = "image") -> None:
        super().__init__(keys)
        self.reference = reference

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Drop the channel, and keep a third axis of length 1 where the reference has one."""
        d = dict(data)
        image = d[self.reference]
        shape = image.meta.get("spatial_shape", ()) if isinstance(image, MetaTensor) else ()
        for key in self.key_iterator(d):
            mask = d[key].to(torch.uint8)
            d[key] = mask[..., None] if len(shape) == 3 else mask[0]
        return d
