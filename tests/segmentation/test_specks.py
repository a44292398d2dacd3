"""Specks go, holes close, and nothing else moves."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data.meta_tensor import MetaTensor

from bundle.data.modality import load_modality
from bundle.segmentation.specks import SPECK, without_specks

LESION = load_modality("dermoscopy")
BOTH = dataclasses.replace(LESION, labels=("heart", "lung"), parts={"lung": 2}, codes={})


def logits_of(mask: np.ndarray, classes: int, seed: int = 0) -> torch.Tensor:
    """(classes, W, H) logits whose likeliest class is the mask's, by differing margins."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(classes, *mask.shape))
    np.put_along_axis(
        logits, mask[None], logits.max(axis=0, keepdims=True) + rng.random((1, *mask.shape)) + 0.1, axis=0
    )
    return torch.from_numpy(logits)


def neighbours(place: tuple[int, int], shape: tuple[int, int], *, corners: bool) -> list[tuple[int, int]]:
    steps = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i or j) and (corners or not (i and j))]
    found = [(place[0] + i, place[1] + j) for i, j in steps]
    return [(i, j) for i, j in found if 0 <= i < shape[0] and 0 <= j < shape[1]]


def connected(inside: np.ndarray, *, corners: bool) -> list[set[tuple[int, int]]]:
    left, parts = {tuple(map(int, place)) for place in np.argwhere(inside)}, []
    while left:
        part, edge = set(), [left.pop()]
        while edge:
            place = edge.pop()
            part.add(place)
            edge += (near := [n for n in neighbours(place, inside.shape, corners=corners) if n in left])
            left -= set(near)
        parts.append(part)
    return parts


def cleaned(mask: np.ndarray, label: int) -> np.ndarray:
    """The rule in words: small parts to background, enclosed background to the label."""
    parts = connected(mask == label, corners=True)
    kept = np.zeros(mask.shape, bool)
    for part in parts:
        if len(part) >= SPECK * max(map(len, parts)):
            kept[tuple(zip(*part, strict=True))] = True
    whole = kept.copy()
    last = mask.shape[0] - 1, mask.shape[1] - 1
    for part in connected(~kept, corners=False):
        if not any(i in (0, last[0]) or j in (0, last[1]) for i, j in part):
            whole[tuple(zip(*part, strict=True))] = True
    return whole & ((mask == label) | (mask == 0))


@given(seed=st.integers(0, 10_000), width=st.integers(1, 14), height=st.integers(1, 14), share=st.floats(0.05, 0.9))
def test_one_label_is_cleaned_as_the_rule_says(seed, width, height, share):
    mask = (np.random.default_rng(seed).random((width, height)) < share).astype(np.int64)
    logits = logits_of(mask, 2, seed)
    before = logits.clone()
    found = without_specks(logits, LESION).argmax(dim=0).numpy()
    np.testing.assert_array_equal(found == 1, cleaned(mask, 1))
    assert torch.equal(logits, before)


@given(seed=st.integers(0, 10_000))
def test_a_label_without_a_number_of_parts_stays_and_a_hole_with_another_label_too(seed):
    mask = np.random.default_rng(seed).integers(0, 3, (9, 11))
    found = without_specks(logits_of(mask, 3, seed), BOTH).argmax(dim=0).numpy()
    np.testing.assert_array_equal(found == 2, cleaned(mask, 2))
    assert (found == 1)[mask == 1].all()


def test_only_turned_pixels_change_and_there_two_classes_change_places():
    mask = np.zeros((12, 12), np.int64)
    mask[1:8, 1:8], mask[3, 3], mask[10, 10] = 1, 0, 1
    logits = logits_of(mask, 2)
    found = without_specks(logits, LESION)
    moved = (found != logits).any(dim=0)
    assert {tuple(place) for place in moved.nonzero().tolist()} == {(3, 3), (10, 10)}
    assert torch.equal(found.sort(dim=0).values, logits.sort(dim=0).values)


@pytest.mark.parametrize("fill", [0, 1])
def test_where_there_is_nothing_to_change_the_logits_come_back(fill):
    logits = logits_of(np.full((6, 5), fill), 2)
    assert without_specks(logits, LESION) is logits


def test_metadata_stay():
    mask = np.zeros((12, 12), np.int64)
    mask[1:8, 1:8], mask[10, 10] = 1, 1
    found = without_specks(MetaTensor(logits_of(mask, 2), meta={"filename_or_obj": "a"}), LESION)
    assert isinstance(found, MetaTensor) and found.meta["filename_or_obj"] == "a"
