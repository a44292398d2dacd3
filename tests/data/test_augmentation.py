"""Random changes stay within what the modality allows, and a mask goes where its image goes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bundle.data.augmentation import augment, random_affine, random_intensity, warp
from bundle.data.modality import Augmentation, load_modality

WILD = Augmentation(
    flip=("x", "y"),
    rotation=180,
    scale=(0.5, 2.0),
    shift=0.3,
    brightness=0.5,
    contrast=(0.3, 3.0),
    gamma=(0.3, 3.0),
    colour=0.3,
)
GEOMETRY = Augmentation(flip=("x", "y"), rotation=180, scale=(0.7, 1.4), shift=0.2)
CPU = torch.device("cpu")


def discs(count: int, width: int, height: int) -> torch.Tensor:
    """(count, 1, W, H) of 0 and 1: an off-centre disc."""
    x = (torch.arange(width) - 0.4 * width)[:, None]
    y = (torch.arange(height) - 0.55 * height)[None, :]
    return ((x**2 + y**2).sqrt() < min(width, height) / 4).float().expand(count, 1, width, height).clone()


def test_limits_of_nothing_change_nothing():
    images, masks = torch.rand(4, 3, 24, 32).clamp_min(1e-3), torch.randint(0, 3, (4, 1, 24, 32), dtype=torch.uint8)
    changed, moved = augment(images, masks, Augmentation())
    torch.testing.assert_close(changed, images, atol=1e-5, rtol=0)
    assert torch.equal(moved, masks)


@pytest.mark.parametrize("size", [(32, 32), (48, 24)])
def test_masks_go_where_their_images_go(size):
    torch.manual_seed(0)
    masks = discs(24, *size)
    # Intensity that cannot carry a value across the threshold, so that the image still tells its mask.
    changed, moved = augment(masks, masks.to(torch.uint8), GEOMETRY)
    differ = ((changed > 0.5) != (moved > 0)).float().mean(dim=(1, 2, 3))
    assert moved.dtype == torch.uint8
    assert (moved.float().mean(dim=(1, 2, 3)) - masks.mean(dim=(1, 2, 3))).abs().max() > 0.02, "they do move"
    assert differ.max() < 0.03, "border pixels alone may differ"


@pytest.mark.parametrize("size", [(32, 32), (48, 24)])
def test_rotation_is_rigid_whatever_the_aspect(size):
    torch.manual_seed(0)
    mask = torch.zeros(32, 1, *size)
    centre = size[0] // 2, size[1] // 2
    mask[:, :, centre[0] - 5 : centre[0] + 5, centre[1] - 5 : centre[1] + 5] = 1
    turned = warp(mask, random_affine(32, size, Augmentation(rotation=180), CPU))
    # Further out a side is short enough for the square to be seen again in the mirror beyond the border.
    turned = turned[:, :, centre[0] - 11 : centre[0] + 11, centre[1] - 11 : centre[1] + 11]
    areas = turned.sum(dim=(1, 2, 3))
    assert (areas / 100 - 1).abs().max() < 0.05
    x, y = (torch.arange(22) - 10.5)[:, None], (torch.arange(22) - 10.5)[None, :]
    spread_x, spread_y = ((turned[:, 0] * axis**2).sum(dim=(1, 2)) / areas for axis in (x, y))
    assert (spread_x / spread_y - 1).abs().max() < 0.15, "a square stays a square"


def test_zoom_and_shift_reach_their_limits_and_no_further():
    torch.manual_seed(0)
    zoomed = random_affine(4000, (32, 32), Augmentation(scale=(0.5, 2.0)), CPU)
    factors = 1 / zoomed[:, 0, 0]
    assert 0.5 <= factors.min() < 0.52 and 1.95 < factors.max() <= 2.0001
    assert 0.47 < (factors < 1).float().mean() < 0.53, "in and out are equally likely"
    shifted = random_affine(4000, (32, 32), Augmentation(shift=0.1), CPU)[:, :, 2] / 2  # of half a side
    assert 0.095 < shifted.abs().max() <= 0.1


@pytest.mark.parametrize("axes", [(), ("x",), ("y",), ("x", "y")])
def test_flips_are_along_the_allowed_axes_alone(axes):
    torch.manual_seed(0)
    image = torch.rand(1, 1, 8, 12)
    flipped = warp(image.expand(64, -1, -1, -1), random_affine(64, (8, 12), Augmentation(flip=axes), CPU))
    dims = {"x": 2, "y": 3}
    allowed = {
        (fx, fy): image.flip([dims[a] for a, on in (("x", fx), ("y", fy)) if on])
        for fx in ((False, True) if "x" in axes else (False,))
        for fy in ((False, True) if "y" in axes else (False,))
    }
    seen = [
        next((key for key, wanted in allowed.items() if torch.allclose(one, wanted[0], atol=1e-4)), None)
        for one in flipped
    ]
    assert set(seen) == set(allowed), "every allowed flip comes and no other"


@given(st.integers(0, 2**31), st.sampled_from([(1, 16, 16), (3, 16, 32)]))
def test_images_stay_between_0_and_1_and_finite(seed, shape):
    torch.manual_seed(seed)
    images = torch.rand(2, *shape).round(decimals=1)
    changed, _ = augment(images, None, WILD)
    assert changed.shape == images.shape
    assert torch.isfinite(changed).all() and changed.min() >= 0 and changed.max() <= 1


def test_black_and_white_images_do_not_break_the_intensity():
    for value in (0.0, 1.0):
        assert torch.isfinite(random_intensity(torch.full((8, 3, 4, 4), value), WILD)).all()


def test_no_gradient_of_a_dark_pixel_is_infinite():
    images = torch.zeros(8, 1, 4, 4, requires_grad=True)
    random_intensity(images, WILD).sum().backward()
    assert images.grad is not None and torch.isfinite(images.grad).all()


def test_intensity_keeps_the_place_of_things_and_geometry_keeps_the_values():
    torch.manual_seed(0)
    constant = torch.full((8, 3, 16, 16), 0.4)
    torch.testing.assert_close(warp(constant, random_affine(8, (16, 16), GEOMETRY, CPU)), constant)
    ramp = torch.linspace(0.1, 0.9, 16).view(1, 1, 16, 1).expand(8, 1, 16, 16)
    bent = random_intensity(ramp, load_modality("chest_xray").augmentation)
    assert (bent.diff(dim=2) >= 0).all(), "brighter stays brighter"


def test_grey_images_of_three_channels_stay_grey_without_colour_limits():
    grey = torch.rand(4, 1, 8, 8).expand(-1, 3, -1, -1)
    changed = random_intensity(grey, Augmentation(brightness=0.2, contrast=(0.5, 2.0), gamma=(0.5, 2.0)))
    assert torch.equal(changed[:, 0], changed[:, 2])


def test_the_same_torch_seed_gives_the_same_result_and_another_seed_another():
    images = torch.rand(4, 3, 16, 16)
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(augment(images, None, WILD)[0])
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])
