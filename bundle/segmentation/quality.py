"""Flags on an image and its mask that a person should know of before relying on either.

Each is a rule that can be checked by eye. What an image usually looks like is told by the training images alone: a
fixed bound would fit one camera.

=================  ==================================================  ===============================================
flag               rule                                                why
=================  ==================================================  ===============================================
empty              no pixel of any label                               a miss looks like a healthy finding
touches border     2 % or more of the image's border is in the mask    the structure may go on outside of the image
parts              a label has another number of connected parts       a second lesion, or a lung that was missed, is
                   than ``Modality.parts``, each of 1 % of its area    the error that a plausible Dice hides
blurred            sharpness below 99 % of the training images         borders are read from edges that are not there
dark, bright       mean intensity outside of 98 % of the training      contrast is lost at either end of the range
                   images
=================  ==================================================  ===============================================
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from scipy import ndimage

from bundle.data.modality import Modality

BORDER_SHARE = 0.02  # a mask that only grazes the frame, as lungs do at the diaphragm, is whole
PART_SHARE = 0.01  # of the label's area; smaller specks change no measure of it
TAIL = 0.01  # of the training images on either side of what counts as usual
FOUR_NEIGHBOURS = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])


def sharpness(image: torch.Tensor) -> float:
    """Variance of the Laplacian of the mean channel (Pech-Pacheco et al., ICPR 2000, LAPV), a measure of focus.

    Args:
        image: (C, W, H) in 0..1, on the canvas: only blur that the network sees counts.
    """
    grey = image.float().mean(dim=0)[None, None]
    if min(grey.shape[2:]) < 3:
        return 0.0
    return float(torch.nn.functional.conv2d(grey, FOUR_NEIGHBOURS[None, None]).var(unbiased=False))


def brightness(image: torch.Tensor) -> float:
    """Mean intensity of (C, W, H), 0..1."""
    return float(image.float().mean())


def usual_range(values: torch.Tensor) -> torch.Tensor:
    """(N,) figures of the training images to (2,): the bounds that all but ``TAIL`` on either side keep."""
    return torch.quantile(values.double(), torch.tensor([TAIL, 1.0 - TAIL], dtype=torch.float64)).float()


def mask_flags(mask: torch.Tensor, modality: Modality) -> list[str]:
    """Flags of a mask, (W, H) class indices of the image's own part of the canvas."""
    if not (mask > 0).any():
        return ["empty"]
    flags = []
    border = torch.cat([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]])
    if float((border > 0).float().mean()) >= BORDER_SHARE:
        flags.append("touches border")
    for index, label in enumerate(modality.labels, start=1):
        expected = modality.parts.get(label)
        if expected is not None and _parts(mask == index) != expected:
            flags.append("parts")
            break
    return flags


def image_flags(image: torch.Tensor, reference: Mapping[str, torch.Tensor]) -> list[str]:
    """Flags of an image, (C, W, H) in 0..1 without padding, against the usual ranges of the training images."""
    flags = []
    if "sharpness" in reference and sharpness(image) < float(reference["sharpness"][0]):
        flags.append("blurred")
    if "brightness" in reference:
        low, high = map(float, reference["brightness"])
        if not low <= brightness(image) <= high:
            flags.append("dark" if brightness(image) < low else "bright")
    return flags


def _parts(inside: torch.Tensor) -> int:
    """Number of 8-connected parts of (W, H) bool that hold ``PART_SHARE`` of it at least."""
    numbered, count = ndimage.label(inside.numpy(), structure=[[1, 1, 1]] * 3)
    areas = ndimage.sum_labels(inside.numpy(), numbered, range(1, count + 1))
    return int((areas >= PART_SHARE * areas.sum()).sum())
