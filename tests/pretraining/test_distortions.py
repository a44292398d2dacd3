"""The distortions of Models Genesis: each changes what it promises and nothing else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import max_pool2d

from bundle.data.modality import Augmentation
from bundle.pretraining import distortions
from bundle.pretraining.distortions import (
    bend_intensity,
    distort,
    paint_inside,
    paint_outside,
    random_flip,
    shuffle_local_pixels,
)

CHANGES = [bend_intensity, paint_inside, paint_outside, shuffle_local_pixels]
ALL_FLIPS = Augmentation(flip=("x", "y"))


def positions(count: int, width: int, height: int) -> torch.Tensor:
    """(count, 2, W, H): channel 0 holds x / (W - 1), channel 1 holds y / (H - 1), so that a value tells its place."""
    x = (torch.arange(width) / (width - 1))[:, None].expand(width, height)
    y = (torch.arange(height) / (height - 1))[None, :].expand(width, height)
    return torch.stack([x, y]).expand(count, -1, -1, -1).clone()


@given(st.sampled_from(CHANGES), st.integers(0, 2**31), st.sampled_from([(1, 16, 16), (3, 32, 48)]))
def test_every_change_keeps_shape_and_range(change, seed, shape):
    torch.manual_seed(seed)
    changed = change(torch.rand(3, *shape).round(decimals=1))
    assert changed.shape == (3, *shape)
    assert torch.isfinite(changed).all() and changed.min() >= 0 and changed.max() <= 1


@given(st.integers(0, 2**31))
def test_the_whole_keeps_shape_and_range_and_its_target_is_a_flip_of_the_input(seed):
    torch.manual_seed(seed)
    images = torch.rand(4, 3, 16, 32)
    distorted, target = distort(images, ALL_FLIPS)
    assert distorted.shape == target.shape == images.shape
    assert distorted.min() >= 0 and distorted.max() <= 1
    for image, one in zip(images, target, strict=True):
        assert any(torch.equal(one, image.flip(dims)) for dims in ([], [1], [2], [1, 2]))


@pytest.mark.parametrize("axes", [(), ("x",), ("y",), ("x", "y")])
def test_only_allowed_flips_are_made_and_all_of_them(axes):
    torch.manual_seed(0)
    image = torch.rand(1, 3, 8, 12)
    dims = {"x": 2, "y": 3}
    possible = {frozenset(): image}
    for axis in axes:
        possible |= {flips | {axis}: one.flip(dims[axis]) for flips, one in list(possible.items())}
    _, target = distort(image.expand(200, -1, -1, -1), Augmentation(flip=axes))
    found = [next((f for f, wanted in possible.items() if torch.equal(one, wanted[0])), None) for one in target]
    assert set(found) == set(possible)
    for axis in axes:
        share = sum(axis in flips for flips in found) / 200
        assert share == pytest.approx(distortions.FLIP_RATE, abs=0.1)


def test_the_input_itself_is_never_changed():
    images = torch.rand(8, 3, 32, 32)
    before = images.clone()
    torch.manual_seed(0)
    distort(images, ALL_FLIPS)
    for change in (*CHANGES, lambda i: random_flip(i, ("x", "y"))):
        change(images)
    assert torch.equal(images, before)


def test_most_images_are_distorted_and_not_all_alike():
    torch.manual_seed(0)
    images = torch.rand(1, 1, 32, 32).expand(100, -1, -1, -1)
    distorted, target = distort(images, Augmentation())
    changed = (distorted != target).flatten(1).any(dim=1).float().mean()
    assert 0.97 <= changed <= 1  # 1 - .5 x .1 x .1 remain as they are
    assert len({tuple(one.flatten().tolist()) for one in distorted}) > 90


@pytest.mark.parametrize("size", [(40, 40), (60, 30)])
def test_shuffling_keeps_every_pixel_and_moves_none_further_than_a_tenth_of_the_side(size):
    width, height = size
    images = positions(40, width, height)
    torch.manual_seed(0)
    shuffled = shuffle_local_pixels(images)
    x = shuffled[:, 0] * (width - 1)
    y = shuffled[:, 1] * (height - 1)
    moved_x = (x - torch.arange(width)[:, None]).abs()
    moved_y = (y - torch.arange(height)[None, :]).abs()
    assert moved_x.max() <= width / 10 and moved_y.max() <= height / 10
    assert ((moved_x > 0.5) | (moved_y > 0.5)).float().mean() > 0.3, "it does shuffle"
    codes = (x.round() * height + y.round()).flatten(1).long().sort(dim=1).values
    assert torch.equal(codes, torch.arange(width * height).expand(40, -1)), "every pixel is somewhere, once"


def test_channels_of_a_pixel_stay_together():
    images = torch.rand(8, 1, 40, 40).expand(-1, 3, -1, -1)
    shuffled = shuffle_local_pixels(images)
    assert torch.equal(shuffled[:, 0], shuffled[:, 1]) and torch.equal(shuffled[:, 0], shuffled[:, 2])


def test_bending_is_monotone_and_reaches_the_ends_both_ways():
    torch.manual_seed(0)
    ramp = torch.linspace(0, 1, 512).view(1, 1, 16, 32).expand(64, -1, -1, -1)
    steps = bend_intensity(ramp).flatten(1).diff(dim=1)
    rising, falling = (steps >= -1e-6).all(dim=1), (steps <= 1e-6).all(dim=1)
    assert (rising | falling).all()
    assert 16 < int(rising.sum()) < 48, "half of the time decreasing"
    ends = bend_intensity(torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).expand(32, -1, -1, -1)).flatten(1)
    torch.testing.assert_close(ends.sort(dim=1).values, torch.tensor([0.0, 1.0]).expand(32, -1), atol=0.02, rtol=0)


def test_bending_gives_equal_pixels_equal_values():
    image = torch.rand(4, 1, 1, 8).expand(-1, 3, 16, -1)
    bent = bend_intensity(image)
    torch.testing.assert_close(bent, bent[:, :1, :1].expand_as(bent))


@pytest.mark.parametrize(
    ("paint", "smallest", "largest", "inverted"),
    [(paint_inside, 1 / 6, 1 / 3, False), (paint_outside, 3 / 7, 4 / 7, True)],
)
def test_painting_leaves_the_promised_part_as_it_was(paint, smallest, largest, inverted):
    torch.manual_seed(0)
    images = torch.full((200, 3, 42, 42), 2.0)  # noise is below 1, so it is told from what was left
    painted = paint(images)
    boxes = (painted[:, 0] == 2) if inverted else (painted[:, 0] < 2)
    for channel in (1, 2):
        same = (painted[:, channel] == 2) if inverted else (painted[:, channel] < 2)
        assert torch.equal(same, boxes), "all channels of a pixel go together"
    share = boxes.float().mean(dim=(1, 2))
    assert share.min() >= 0.9 * smallest**2 and share.max() <= 5 * largest**2 * 1.1
    # The marked part is a union of boxes that are no smaller than promised: opening it with that box changes nothing.
    side = int(smallest * 42)
    marked = boxes[:, None].float()
    eroded = 1 - max_pool2d(1 - marked, side, stride=1)
    opened = max_pool2d(torch.nn.functional.pad(eroded, (side - 1,) * 4), side, stride=1)
    assert torch.equal(opened, marked)


def test_painted_noise_fills_the_range():
    torch.manual_seed(0)
    noise = paint_outside(torch.full((16, 1, 32, 32), 2.0))
    noise = noise[noise < 2]
    assert noise.mean() == pytest.approx(0.5, abs=0.02) and noise.std() == pytest.approx(12**-0.5, abs=0.02)


def test_a_large_batch_is_distorted_part_by_part_and_comes_back_whole(monkeypatch):
    images = torch.rand(7, 3, 20, 16, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(distortions, "AT_ONCE", 2 * images[0].numel())
    torch.manual_seed(3)
    whole = distort(images, ALL_FLIPS)
    torch.manual_seed(3)
    parts = [distort(part, ALL_FLIPS) for part in images.split(2)]
    for found, wanted in zip(whole, zip(*parts, strict=True), strict=True):
        assert torch.equal(found, torch.cat(wanted))
    assert all(
        sorted(t.flatten().tolist()) == sorted(i.flatten().tolist()) for t, i in zip(whole[1], images, strict=True)
    )


def test_the_same_torch_seed_distorts_alike():
    images = torch.rand(6, 1, 32, 32)
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(distort(images, ALL_FLIPS)[0])
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])
