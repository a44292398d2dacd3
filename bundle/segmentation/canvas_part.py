"""The part of a canvas that its image fills."""

from __future__ import annotations

import torch
from monai.data.meta_tensor import MetaTensor
from monai.utils import TraceKeys

from bundle.data.canvas import cut_padding


def image_part(image: MetaTensor, canvas: torch.Tensor | None = None) -> torch.Tensor:
    """The pixels of ``canvas`` (..., size, size), or of the image itself, that are no padding: (..., w, h).

    Args:
        image: (C, size, size) as ``FitCanvasd`` gives it, which remembers the size it had.
    """
    width, height = map(int, image.applied_operations[-1][TraceKeys.ORIG_SIZE])
    found = image if canvas is None else canvas
    return cut_padding(found.as_subclass(torch.Tensor), width, height)
