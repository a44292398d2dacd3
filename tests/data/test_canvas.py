"""The canvas keeps the aspect, puts the image where it says, and gives it back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.transforms import Compose, EnsureTyped, Invertd
from PIL import Image
from torch.nn.functional import interpolate

from bundle.data.canvas import FitCanvasd, _resize, canvas_box, from_canvas, to_canvas

SIDES = st.integers(1, 90)
SIZES = st.sampled_from([16, 32, 48])


def gradient(width: int, height: int) -> torch.Tensor:
    """(2, W, H): one channel rises along x, the other along y, both in [0.2, 0.8]."""
    x = torch.linspace(0.2, 0.8, width)[:, None].expand(width, height)
    y = torch.linspace(0.2, 0.8, height)[None, :].expand(width, height)
    return torch.stack([x, y])


@given(SIDES, SIDES, SIZES)
def test_the_box_is_centred_fills_the_longer_side_and_keeps_the_aspect(width, height, size):
    left, top, w, h = canvas_box(width, height, size)
    assert max(w, h) == size and min(w, h) >= 1
    assert min(left, top) >= 0 and left + w <= size and top + h <= size
    assert abs((size - w - left) - left) <= 1 and abs((size - h - top) - top) <= 1
    scale = size / max(width, height)
    assert abs(w - width * scale) <= 1 and abs(h - height * scale) <= 1


@given(SIDES, SIDES, SIZES)
def test_padding_is_zero_outside_the_box_and_nothing_of_it_is_inside(width, height, size):
    left, top, w, h = canvas_box(width, height, size)
    canvas = to_canvas(torch.ones(3, width, height), size)
    assert canvas.shape == (3, size, size)
    inside = torch.zeros(size, size, dtype=torch.bool)
    inside[left : left + w, top : top + h] = True
    torch.testing.assert_close(canvas, inside.expand(3, -1, -1).float())


@given(SIDES, SIDES, SIZES)
def test_the_way_back_gives_the_size_and_nearly_the_image(width, height, size):
    image = gradient(width, height)
    back = from_canvas(to_canvas(image, size), width, height)
    assert back.shape == image.shape
    box = canvas_box(width, height, size)
    for channel, coarsest in enumerate((min(width, box[2]), min(height, box[3]))):
        # A gradient can be off by a pixel of the coarser grid, and by nothing of the other axis.
        assert (back[channel] - image[channel]).abs().max() <= 0.6 / coarsest + 1e-5


@given(SIDES, SIDES, SIZES)
def test_masks_keep_their_classes_and_their_dtype(width, height, size):
    mask = torch.randint(0, 3, (1, width, height), dtype=torch.uint8, generator=torch.Generator().manual_seed(width))
    canvas = to_canvas(mask, size, classes=True)
    back = from_canvas(canvas, width, height, classes=True)
    assert canvas.dtype == back.dtype == torch.uint8
    assert set(canvas.unique().tolist()) <= {0, *mask.unique().tolist()}
    assert set(back.unique().tolist()) <= set(mask.unique().tolist())


def test_an_image_of_the_canvas_size_is_untouched():
    image = torch.rand(3, 32, 32)
    assert torch.equal(to_canvas(image, 32), image)
    assert torch.equal(from_canvas(image, 32, 32), image)


def test_axes_are_x_before_y():
    image = torch.zeros(1, 40, 20)  # 40 wide, 20 high
    image[:, :20] = 1  # the left half
    canvas = to_canvas(image, 32)
    assert canvas[0, :15, 8:24].min() > 0.99 and canvas[0, 17:, 8:24].max() < 0.01
    assert canvas[0, :, :8].max() == canvas[0, :, 24:].max() == 0


def test_shrinking_does_not_alias():
    stripes = torch.zeros(1, 320, 320)
    stripes[:, ::2] = 1
    canvas = to_canvas(stripes, 32)
    torch.testing.assert_close(canvas, torch.full_like(canvas, 0.5), atol=0.05, rtol=0)


@pytest.mark.parametrize("size", [(20, 33), (47, 12), (32, 32), (1, 9)])
def test_a_loader_and_its_inverse_give_every_image_its_size(size):
    forward = Compose([EnsureTyped(["image", "label"]), FitCanvasd(["image", "label"], 32, classes=(False, True))])
    label = (torch.rand(1, *size, generator=torch.Generator().manual_seed(1)) > 0.5).to(torch.uint8)
    items = [{"image": MetaTensor(gradient(*size)), "label": MetaTensor(label)} for _ in range(3)]
    batch = next(iter(DataLoader(Dataset(items, forward), batch_size=3)))
    assert batch["image"].shape == (3, 2, 32, 32)
    batch["pred"] = batch["image"].clone()
    undo = Compose(
        [
            Invertd("pred", forward, orig_keys="image", nearest_interp=False),
            Invertd("label", forward, orig_keys="label", nearest_interp=False),
        ]
    )
    for item in map(undo, decollate_batch(batch)):
        assert item["pred"].shape == (2, *size) and item["label"].shape == (1, *size)
        assert set(item["label"].unique().tolist()) <= {0, 1}
        torch.testing.assert_close(
            item["pred"].as_tensor(), from_canvas(to_canvas(gradient(*size), 32), *size), atol=1e-5, rtol=0
        )


def test_missing_keys_are_an_error_unless_allowed():
    image = {"image": MetaTensor(torch.rand(1, 8, 9))}
    with pytest.raises(KeyError):
        FitCanvasd(["image", "label"], 16)(image)
    assert FitCanvasd(["image", "label"], 16, allow_missing_keys=True)(image)["image"].shape == (1, 16, 16)


def test_a_smaller_mask_is_where_the_filtered_mask_is_above_one_half():
    mask = (torch.rand(1, 96, 96, generator=torch.Generator().manual_seed(0)) > 0.4).to(torch.uint8)
    share = to_canvas(mask.float(), 24)
    assert torch.equal(to_canvas(mask, 24, classes=True), (share > 0.5).to(torch.uint8))
    assert torch.equal(
        to_canvas(3 * mask, 24, classes=True), 3 * (share > 0.5).to(torch.uint8)
    )  # only classes there are


def test_of_three_classes_the_one_with_the_greatest_share_wins_and_ties_go_to_the_lowest():
    mask = torch.randint(0, 3, (1, 90, 60), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    shares = torch.stack([to_canvas((mask == value).float(), 30)[0] for value in range(3)])
    canvas = to_canvas(mask, 30, classes=True)[0]
    for x in range(5, 25):
        for y in range(30):
            assert canvas[x, y] == max(range(3), key=lambda value: (float(shares[value, x, y]), -value))


def test_masks_keep_their_metadata():
    mask = MetaTensor(torch.ones(1, 40, 20, dtype=torch.uint8), meta={"spatial_shape": (40, 20)})
    canvas = to_canvas(mask, 16, classes=True)
    assert isinstance(canvas, MetaTensor) and canvas.meta["spatial_shape"] == (40, 20)
    assert canvas.dtype == torch.uint8


@given(
    width=st.integers(33, 300),
    height=st.integers(33, 300),
    w=st.integers(1, 32),
    h=st.integers(1, 32),
    c=st.integers(1, 3),
)
def test_an_image_is_shrunk_as_torch_and_pil_shrink(width, height, w, h, c):
    image = torch.rand(height, width, c, generator=torch.Generator().manual_seed(width * height)).permute(2, 1, 0)
    wanted = interpolate(image.transpose(1, 2)[None], size=(h, w), mode="bilinear", antialias=True)[0].transpose(1, 2)
    if w > 1:  # torch 2.13 gives a single column one value all along
        torch.testing.assert_close(_resize(image, (w, h), classes=False), wanted, atol=2e-6, rtol=0)
    drawn = Image.fromarray(image[0].T.contiguous().numpy())
    by_pil = np.asarray(drawn.resize((w, h), Image.Resampling.BILINEAR)).T
    np.testing.assert_allclose(_resize(image, (w, h), classes=False)[0], by_pil, atol=2e-6)
