"""Random changes of whole batches on the training device. Images are (B, C, W, H) in [0, 1].

Random numbers come from torch's global generators, which the engines seed at every step (``StepSeed`` in
``bundle.data.sampling``), so that a step is the same after a resume and on any machine with the same device type.
"""

from __future__ import annotations

import math

import torch
from torch.nn.functional import affine_grid, grid_sample

from bundle.data.modality import Augmentation


def random_affine(count: int, size: tuple[int, int], limits: Augmentation, device: torch.device) -> torch.Tensor:
    """Draw a flip, rotation, zoom and shift per image: (count, 2, 3) matrices for ``affine_grid``.

    Args:
        size: (W, H) of the images; rotation has to know the aspect to stay rigid.
        limits: what the modality allows.
    """
    angle = _uniform(count, -limits.rotation, limits.rotation, device) * (math.pi / 180)
    # Uniform in the logarithm, so that zooming in and out by the same factor are equally likely.
    zoom = torch.exp(_uniform(count, math.log(limits.scale[0]), math.log(limits.scale[1]), device))
    shift = _uniform((count, 2), -2 * limits.shift, 2 * limits.shift, device)  # the grid's unit is half a side
    mirror = torch.ones(count, 2, device=device)
    for axis, name in enumerate(("y", "x")):  # affine_grid's first coordinate runs along the last tensor axis, y
        if name in limits.flip:
            mirror[:, axis] = torch.randint(0, 2, (count,), device=device) * 2.0 - 1.0
    cos, sin, aspect = torch.cos(angle) / zoom, torch.sin(angle) / zoom, size[0] / size[1]
    rows = torch.stack(
        [
            torch.stack([cos * mirror[:, 0], -sin * aspect * mirror[:, 1], shift[:, 0]], dim=1),
            torch.stack([sin / aspect * mirror[:, 0], cos * mirror[:, 1], shift[:, 1]], dim=1),
        ],
        dim=1,
    )
    return rows


def warp(
    images: torch.Tensor, affine: torch.Tensor, *, size: tuple[int, int] | None = None, nearest: bool = False
) -> torch.Tensor:
    """Resample (B, C, W, H) by (B, 2, 3) matrices; beyond the border the image is mirrored.

    Black corners would tell the rotation of a view, and be a lesson in corners rather than in skin.

    Args:
        size: (W, H) of the result; that of the images where None.
        nearest: for masks.
    """
    grid = affine_grid(affine, [*images.shape[:2], *(size or images.shape[2:])], align_corners=False)
    mode = "nearest" if nearest else "bilinear"
    return grid_sample(images, grid, mode=mode, padding_mode="reflection", align_corners=False)


def random_intensity(images: torch.Tensor, limits: Augmentation) -> torch.Tensor:
    """Draw gamma, contrast, brightness and a shift per channel for every image; (B, C, W, H) in [0, 1] in and out."""
    count, channels = images.shape[:2]
    device, one = images.device, (images.shape[0], 1, 1, 1)
    gamma = torch.exp(_uniform(count, math.log(limits.gamma[0]), math.log(limits.gamma[1]), device)).view(one)
    contrast = torch.exp(_uniform(count, math.log(limits.contrast[0]), math.log(limits.contrast[1]), device)).view(one)
    brightness = _uniform(count, -limits.brightness, limits.brightness, device).view(one)
    colour = _uniform((count, channels), -limits.colour, limits.colour, device).view(count, channels, 1, 1)
    images = images.clamp(1e-4, 1.0) ** gamma  # the slope of x**gamma at 0 is infinite for gamma < 1
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return ((images - mean) * contrast + mean + brightness + colour).clamp_(0.0, 1.0)


def augment(
    images: torch.Tensor, masks: torch.Tensor | None, limits: Augmentation
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Geometry for images and masks together, intensity for images alone.

    Args:
        images: (B, C, W, H) float in [0, 1].
        masks: (B, 1, W, H) class indices as integers, (B, labels, W, H) probabilities as floats, or None.
        limits: what the modality allows.

    Returns:
        Both, of the same shapes and dtypes.
    """
    affine = random_affine(len(images), (images.shape[2], images.shape[3]), limits, images.device)
    images = random_intensity(warp(images, affine), limits)
    if masks is not None:
        classes = not masks.dtype.is_floating_point  # between two classes lies none, between two probabilities one
        masks = warp(masks.float(), affine, nearest=classes).to(masks.dtype)
    return images, masks


def _uniform(shape: int | tuple[int, ...], low: float, high: float, device: torch.device) -> torch.Tensor:
    return torch.rand(shape, device=device) * (high - low) + low
