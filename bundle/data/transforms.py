"""Deterministic preprocessing, the same for every stage; what is random happens later, on whole batches.

Axes are MONAI's: channel, x (left to right), y (top to bottom).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose, LoadImaged, MapTransform, Transform

from bundle.data.canvas import FitCanvasd
from bundle.data.modality import Modality, load_modality
from bundle.data.pictures import UnreadableImage
from bundle.data.reader import ClinicalReader

KEPT = ("id", "index", "weight")  # what goes into a batch beside images and labels


def preprocessing(
    modality: str | Modality,
    *,
    size: int | None = None,
    label: str | None = None,
    cached: bool = False,
) -> Compose:
    """File to canvas, as a flat ``Compose`` so that MONAI Label finds ``LoadImaged`` in it.

    Args:
        modality: name, path or Modality.
        size: side of the canvas in pixels; the modality's own where None.
        label: None leaves labels alone; ``"canvas"`` brings them onto the canvas; ``"native"`` loads them at their own
            size, for scores that a resized truth would flatter.
        cached: compact items for a cache in memory: images become uint8 in 0..255 and both lose their metadata,
            which training does not need. Otherwise images are float32 in [0, 1] that remember how to be inverted.
    """
    modality = load_modality(modality)
    size = modality.size if size is None else size
    image_reader: Any = {"reader": ClinicalReader, "modality": modality, "side": size}
    steps: list[Any] = [LoadImaged("image", ensure_channel_first=True, **image_reader)]
    if label is not None:
        mask_reader: Any = {"reader": ClinicalReader, "modality": modality, "mask": True}
        steps.append(LoadImaged("label", ensure_channel_first=True, dtype=np.uint8, **mask_reader))
        steps.append(SameSized())
    if label == "canvas":
        steps.append(FitCanvasd(["image", "label"], size=size, classes=(False, True)))
    else:
        steps.append(FitCanvasd("image", size=size))
    if cached:
        steps.append(Compactd(["image", "label"] if label else ["image"]))
    return Compose(steps)


class SameSized(Transform):
    """Refuses a label of another size than its image: it was listed as fitting, and one of them has changed since."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item as it is.

        Raises:
            UnreadableImage: of the label's file.
        """
        image, label = data["image"], data["label"]
        size, own = tuple(map(int, image.meta["spatial_shape"][:2])), tuple(label.shape[1:3])
        if size != own:
            sides = " x ".join(map(str, own)), " x ".join(map(str, size))
            reason = f"a mask of {sides[0]} pixels for an image of {sides[1]}; list the images again"
            raise UnreadableImage(label.meta["filename_or_obj"], reason)
        return dict(data)


class Compactd(MapTransform):
    """Float images in [0, 1] to uint8 in 0..255, metadata dropped: a quarter of the memory and fast to collate."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Keep the keys and ``KEPT``, and nothing else: paths and headers have no place in a batch."""
        kept: dict[Hashable, Any] = {name: data[name] for name in KEPT if name in data}
        for key in self.key_iterator(dict(data)):
            value = torch.as_tensor(data[key]).detach().as_subclass(torch.Tensor)
            if value.dtype.is_floating_point:
                value = value.clamp(0, 1).mul(255).round()
            kept[key] = _compact(value.to(torch.uint8))
        return kept


def _compact(values: torch.Tensor) -> torch.Tensor:
    """A copy in memory of Python's own. Torch's aligned blocks, kept between the large ones that come and go as images
    are read, hold the heap apart: three to four times the memory of the values.
    """
    return torch.frombuffer(bytearray(values.numpy().tobytes()), dtype=torch.uint8).reshape(values.shape)
