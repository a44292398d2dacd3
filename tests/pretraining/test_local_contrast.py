"""Places in two views: the geometry against a picture of coordinates, the loss against plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from bundle.data.augmentation import random_affine, warp
from bundle.data.canvas import canvas_box, to_canvas
from bundle.data.modality import load_modality
from bundle.pretraining.local_contrast import (
    MARGIN,
    NEIGHBOURHOOD,
    content_extent,
    local_contrast,
    same_places,
)

IDENTITY = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])


def coordinates(side: int) -> torch.Tensor:
    """A picture (1, 2, side, side) whose two channels are its own positions in the grid of ``affine_grid``."""
    centres = (torch.arange(side) + 0.5) / side * 2 - 1
    rows, columns = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack([columns, rows])[None]


@given(seed=st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_a_place_shows_the_same_point_of_the_image_in_both_views(seed):
    torch.manual_seed(seed)
    limits = load_modality("dermoscopy").augmentation
    affines = [random_affine(3, (64, 64), limits, torch.device("cpu")) for _ in range(2)]
    image, in_query, in_key, in_image = same_places(*affines, points=16)
    views = [warp(coordinates(64).expand(3, -1, -1, -1), affine) for affine in affines]
    for view, positions in zip(views, (in_query, in_key), strict=True):
        for row in range(len(image)):
            grid = positions[row].view(1, 1, 1, 2)
            found = torch.nn.functional.grid_sample(view[image[row]][None], grid, align_corners=False)[0, :, 0, 0]
            # The coordinate picture is linear but for its border, where a view is mirrored.
            if in_image[row].abs().max() < 0.9 and positions[row].abs().max() < 0.9:
                torch.testing.assert_close(found, in_image[row], atol=0.05, rtol=0)
    assert (in_key.abs() <= MARGIN).all() and (in_image.abs() <= 1).all()


@pytest.mark.parametrize(("width", "height"), [(40, 30), (30, 40), (64, 64), (1, 64)])
def test_no_place_lies_in_the_bars_of_an_image_that_is_no_square(width, height):
    canvas = to_canvas(torch.rand(3, width, height) + 0.01, 64)[None]
    left, top, w, h = canvas_box(width, height, 64)
    extent = content_extent(canvas)
    assert extent[0].tolist() == pytest.approx([h / 64, w / 64], abs=2 / 64)
    torch.manual_seed(0)
    _, _, _, in_image = same_places(IDENTITY, IDENTITY, points=500, extent=extent)
    row, column = ((in_image[:, axis] + 1) / 2 * 64 for axis in (0, 1))
    # Of an odd number of padded pixels one side has one more, and counts like the other.
    inside = (row >= top - 1) & (row <= top + h + 1) & (column >= left - 1) & (column <= left + w + 1)
    assert len(in_image) and inside.all()
    assert content_extent(torch.zeros(1, 3, 8, 8)).tolist() == [[0, 0]]


def test_equal_views_share_every_place_and_views_apart_none():
    assert len(same_places(IDENTITY, IDENTITY, points=10)[0]) == 10
    far = IDENTITY + torch.tensor([[[0.0, 0.0, 5.0], [0.0, 0.0, 0.0]]])
    query = torch.rand(1, 4, 6, 6, requires_grad=True)
    loss, matched = local_contrast(query, torch.rand(1, 4, 6, 6), IDENTITY, far)
    assert loss.item() == 0 and matched.item() == 0
    loss.backward()
    assert (query.grad == 0).all(), "a batch without common places teaches nothing and breaks nothing"


@pytest.mark.parametrize("seed", range(3))
def test_is_info_nce_over_the_places_of_the_batch(seed):
    affine = IDENTITY.expand(2, -1, -1)
    torch.manual_seed(seed)
    query, key = torch.randn(2, 5, 8, 8), torch.randn(2, 5, 8, 8)
    torch.manual_seed(seed)
    image, in_query, in_key, in_image = same_places(affine, affine, points=6)
    torch.manual_seed(seed)
    loss, matched = local_contrast(query, key, affine, affine, points=6, temperature=0.3)

    def vector(features: torch.Tensor, i: int, positions: torch.Tensor) -> torch.Tensor:
        grid = positions[i].view(1, 1, 1, 2)
        one = features[image[i]][None]
        return normalize(torch.nn.functional.grid_sample(one, grid, align_corners=False).reshape(-1), dim=0)

    losses, firsts = [], []
    for i in range(len(image)):
        similarity = {}
        for j in range(len(image)):
            close = image[i] == image[j] and float((in_image[i] - in_image[j]).norm()) < NEIGHBOURHOOD
            if i == j or not close:
                similarity[j] = float(vector(query, i, in_query) @ vector(key, j, in_key)) / 0.3
        losses.append(math.log(sum(math.exp(s) for s in similarity.values())) - similarity[i])
        firsts.append(similarity[i] == max(similarity.values()))
    assert float(loss) == pytest.approx(sum(losses) / len(losses), abs=1e-4)
    assert float(matched) == pytest.approx(sum(firsts) / len(firsts))


def test_features_that_say_where_they_are_find_themselves():
    affine = IDENTITY.expand(2, -1, -1)
    places = torch.cat([coordinates(24), coordinates(24) + 4])
    places = torch.cat([places, torch.ones(2, 1, 24, 24)], dim=1)
    torch.manual_seed(0)
    loss, matched = local_contrast(places, places, affine, affine, temperature=0.01)
    torch.manual_seed(0)
    constant = local_contrast(torch.ones(2, 3, 24, 24), torch.ones(2, 3, 24, 24), affine, affine, temperature=0.01)[0]
    assert float(matched) > 0.9 and float(loss) < float(constant)
