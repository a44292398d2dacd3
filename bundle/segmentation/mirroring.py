"""The mean over an image's mirrorings: several looks at one image, for one pass of the network each."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from monai.inferers import Inferer

_CLASSES = -3  # axis of (..., classes, W, H)


def mirrorings(flip: Sequence[str]) -> list[tuple[int, ...]]:
    """Every way to mirror (..., W, H) along some of the axes ``flip``, as axes of the tensor; the image itself first.

    Args:
        flip: out of ``"x"`` and ``"y"``, such as ``Augmentation.flip`` of a modality.
    """
    axes = ["xy".index(name) - 2 for name in flip]
    return [part for size in range(len(axes) + 1) for part in itertools.combinations(axes, size)]


class MirroredInferer(Inferer):
    """Averages a network's probabilities over every mirroring along some axes; without axes it is one pass.

    The mean of several predictions errs less than each, and a mirroring is undone without loss, pixel by pixel. Wang et
    al. 2019 (Neurocomputing 338, section 3.3) average over more kinds of change, which have to be resampled back.

    Args:
        inferer: makes one pass.
        flip: see :func:`mirrorings`.
    """

    def __init__(self, inferer: Inferer, flip: Sequence[str]) -> None:
        super().__init__()
        self.inferer, self.ways = inferer, mirrorings(flip)

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> Any:
        """Run ``network`` on ``inputs`` (B, C, W, H).

        Returns:
            What the network gives for the image itself, with the logarithms of the mean probabilities in place of its
            logits (B, classes, W, H) or (B, heads, classes, W, H). What has no place in the image stays as it is.
        """
        found = self.inferer(inputs, network, *args, **kwargs)
        if len(self.ways) == 1:
            return found
        logits, image = _in_place(found), inputs.as_subclass(torch.Tensor)
        totals = [part.as_subclass(torch.Tensor).softmax(dim=_CLASSES) for part in logits]
        for way in self.ways[1:]:
            seen = _in_place(self.inferer(image.flip(way), network, *args, **kwargs))
            for total, part in zip(totals, seen, strict=True):
                total += part.softmax(dim=_CLASSES).flip(way)
        for part, total in zip(logits, totals, strict=True):
            part.copy_((total / len(self.ways)).clamp_min(torch.finfo(total.dtype).tiny).log())  # metadata stay
        return found


def _in_place(found: torch.Tensor | dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """What of a network's output lies in the image, pixel by pixel."""
    return [part for part in (found.values() if isinstance(found, dict) else [found]) if part.ndim > 2]
