"""Flags of images and masks: each rule on the smallest picture that breaks it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy import ndimage

from bundle.data.modality import load_modality
from bundle.segmentation.quality import brightness, image_flags, mask_flags, sharpness, usual_range

LESION, LUNGS = load_modality("dermoscopy"), load_modality("chest_xray")
ANY = dataclasses.replace(LESION, parts={})


def mask(*boxes: tuple[int, int, int, int]) -> torch.Tensor:
    """(40, 30) with boxes of x0, y0, x1, y1."""
    found = torch.zeros(40, 30, dtype=torch.long)
    for x0, y0, x1, y1 in boxes:
        found[x0:x1, y0:y1] = 1
    return found


LEFT, RIGHT, SPECK = (5, 5, 15, 25), (20, 5, 30, 25), (36, 2, 37, 3)


@pytest.mark.parametrize(
    ("drawn", "modality", "flags"),
    [
        (mask(), LESION, ["empty"]),
        (mask(LEFT), LESION, []),
        (mask(LEFT, RIGHT), LESION, ["parts"]),
        (mask(LEFT, RIGHT), ANY, []),
        (mask(LEFT, RIGHT), LUNGS, []),
        (mask(LEFT), LUNGS, ["parts"]),
        (mask(LEFT, RIGHT, SPECK), LUNGS, []),
        (mask((0, 5, 15, 25)), LESION, ["touches border"]),
        (mask((0, 0, 40, 30)), LESION, ["touches border"]),
        (mask((0, 5, 15, 7)), LESION, []),  # 2 of 136 pixels
        (mask((0, 5, 15, 8)), LESION, ["touches border"]),  # 3 of 136
        (mask((5, 5, 10, 10), (10, 10, 15, 15)), LESION, []),  # joined by a corner
    ],
)
def test_a_mask_is_flagged_by_its_rule(drawn, modality, flags):
    assert mask_flags(drawn, modality) == flags


def test_sharpness_is_the_variance_of_the_laplacian_and_falls_with_blur():
    image = torch.rand(3, 9, 8, generator=torch.Generator().manual_seed(0))
    grey = image.mean(dim=0)
    values = [
        float(grey[x - 1, y] + grey[x + 1, y] + grey[x, y - 1] + grey[x, y + 1] - 4 * grey[x, y])
        for x in range(1, 8)
        for y in range(1, 7)
    ]
    assert sharpness(image) == pytest.approx(float(np.var(values)), rel=1e-4)
    blurred = torch.from_numpy(ndimage.gaussian_filter(image.numpy(), (0, 1, 1)))
    assert sharpness(blurred) < sharpness(image)
    assert sharpness(torch.rand(1, 2, 50)) == 0.0 and brightness(torch.full((1, 2, 2), 0.25)) == 0.25


def test_an_image_is_flagged_against_the_training_images_alone():
    image = torch.rand(1, 20, 20, generator=torch.Generator().manual_seed(1))
    sharp, light = sharpness(image), brightness(image)
    assert image_flags(image, {}) == []
    usual = {
        "sharpness": torch.tensor([0.5 * sharp, 0.9 * sharp]),
        "brightness": torch.tensor([light - 0.1, light + 0.1]),
    }
    assert image_flags(image, usual) == []
    assert image_flags(image, usual | {"sharpness": torch.tensor([2 * sharp, 3 * sharp])}) == ["blurred"]
    assert image_flags(image - 0.2, usual) == ["dark"] and image_flags(image + 0.2, usual) == ["bright"]


def test_the_usual_range_leaves_a_hundredth_out_on_either_side():
    low, high = usual_range(torch.arange(1001).flip(0))
    assert (float(low), float(high)) == (10.0, 990.0)
