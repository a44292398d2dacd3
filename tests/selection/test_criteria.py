"""What every registered criterion promises. A new criterion is tested here by being registered."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from bundle.selection import available_criteria, find_criterion, score
from bundle.selection.catalogue import criterion_page, criterion_table
from bundle.selection.ceal import border_distance
from bundle.selection.criterion import KINDS
from bundle.selection.information import mean_divergence, pixel_entropy

from .opinions import COUNT, awkward_opinions, disc, sure_of

CRITERIA = sorted(available_criteria())
FEW = settings(max_examples=20)


def repeated(name: str, *masks: np.ndarray, **options: object) -> np.ndarray:
    """Opinions as many as the criterion looks at: the masks in turn."""
    count = COUNT.get(find_criterion(name).opinions, 4)
    return sure_of(*[masks[i % len(masks)] for i in range(count)], **options)


@pytest.mark.parametrize("name", CRITERIA)
@FEW
@given(data=st.data())
def test_a_score_is_a_number_from_0_to_2_and_always_the_same(name, data):
    opinions = data.draw(awkward_opinions(find_criterion(name).opinions))
    found = score(opinions, name)
    assert 0 <= found <= 2 and found == score(opinions.copy(), name)


@pytest.mark.parametrize("name", CRITERIA)
@FEW
@given(data=st.data())
def test_mirroring_the_image_changes_nothing(name, data):
    opinions = data.draw(awkward_opinions(find_criterion(name).opinions))
    assert score(opinions[:, :, ::-1], name) == pytest.approx(score(opinions, name), abs=1e-6)


@pytest.mark.parametrize("name", CRITERIA)
def test_an_empty_prediction_is_more_uncertain_than_any_other(name):
    empty = score(repeated(name, disc(0)), name)
    rng = np.random.default_rng(0)
    doubtful = repeated(name, *(rng.integers(0, 2, (24, 24)) for _ in range(4)), certainty=0.6)
    doubtful[0, 1] = np.maximum(doubtful[0, 1], 0.5)  # something is found on it
    doubtful[0, 0] = 1 - doubtful[0, 1]
    assert empty >= 1 > score(doubtful, name)


@pytest.mark.parametrize("name", CRITERIA)
def test_full_agreement_of_sure_opinions_is_the_least_uncertain(name):
    for mask in (disc(7), np.ones((24, 24), int)):
        assert score(repeated(name, mask), name) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", [name for name in CRITERIA if name != "entropy"])  # which sees one opinion
def test_opinions_that_part_more_score_higher(name):
    little = score(repeated(name, disc(8), disc(7), disc(8), disc(8)), name)
    much = score(repeated(name, disc(8), disc(3), disc(8), disc(8)), name)
    assert 0 < little < much


@pytest.mark.parametrize("name", CRITERIA)
@pytest.mark.parametrize(
    ("opinions", "told"),
    [
        (np.ones((2, 4, 4), np.float32), "(P, classes, W, H)"),
        (np.ones((2, 1, 4, 4), np.float32), "foreground class"),
        (np.full((2, 2, 4, 4), np.nan, np.float32), "finite"),
        (np.full((2, 2, 4, 4), 9, np.float32), "from 0 to 1, got 9 to 9; take the softmax"),
        (np.stack([np.full((2, 4, 4), 1.5), np.full((2, 4, 4), -0.5)], axis=1), "from 0 to 1, got -0.5 to 1.5"),
        (np.ones((2, 2, 4, 4), np.float32), "sum to 1 over the classes, background included, got 2 to 2"),
        (np.full((2, 2, 4, 4), 0.25, np.float32), "sum to 1 over the classes, background included, got 0.5 to 0.5"),
    ],
)
def test_what_are_no_opinions_is_refused(name, opinions, told):
    with pytest.raises(ValueError) as error:
        score(opinions, name)
    assert told in str(error.value)


@pytest.mark.parametrize("name", CRITERIA)
def test_an_unknown_option_is_refused_and_every_criterion_says_what_it_is(name):
    with pytest.raises(ValueError, match="no option 'colour'"):
        score(repeated(name, disc(5)), name, colour="red")
    found = find_criterion(name)
    assert found.opinions in KINDS and found.summary and found.good_for and found.paper
    assert criterion_page(name).startswith(f"{name}: {found.summary}")
    assert any(line.startswith(name) for line in criterion_table(100).splitlines())


def test_an_unknown_criterion_is_refused_with_a_suggestion():
    with pytest.raises(ValueError, match="did you mean 'dsal'"):
        score(sure_of(disc(3)), "dsall")


def test_dsal_is_one_less_the_dice_of_the_main_head_with_the_others_in_plain_loops():
    masks = [disc(8), disc(6, x=10), disc(9, y=14)]

    def dice(a: np.ndarray, b: np.ndarray) -> float:
        both = sum(1 for p, q in zip(a.flat, b.flat, strict=True) if p and q)
        return 2 * both / (sum(map(int, a.flat)) + sum(map(int, b.flat)))

    main = (dice(masks[0], masks[1]) + dice(masks[0], masks[2])) / 2
    every = (dice(masks[0], masks[1]) + dice(masks[0], masks[2]) + dice(masks[1], masks[2])) / 3
    assert score(sure_of(*masks), "dsal") == pytest.approx(1 - main)
    assert score(sure_of(*masks), "dsal", pairs="all") == pytest.approx(1 - every)


def test_dsal_averages_the_labels_that_are_seen_and_takes_none_that_two_heads_miss_for_agreement():
    two = disc(8) + (disc(3) > 0)  # label 2 inside label 1; label 3 nowhere
    ring = disc(8)
    labels = sure_of(two, ring, two, classes=4)
    first = 2 * (ring - disc(3)).sum() / ((ring - disc(3)).sum() + ring.sum())
    assert score(labels, "dsal") == pytest.approx(1 - ((first + 0) / 2 + 1) / 2)


def test_with_several_labels_an_image_on_which_no_head_sees_any_is_the_most_uncertain():
    assert score(sure_of(disc(0), disc(0), disc(0), classes=3), "dsal") == 1


@pytest.mark.parametrize("name", [name for name in CRITERIA if find_criterion(name).opinions != "single"])
def test_one_opinion_has_nothing_to_differ_from(name):
    with pytest.raises(ValueError, match="two at least to differ, got 1"):
        score(sure_of(disc(4)), name)


@FEW
@given(data=st.data())
def test_bald_is_the_entropy_of_the_mean_less_the_mean_entropy_in_plain_loops(data):
    opinions = data.draw(awkward_opinions("dropout"))
    passes, classes, w, h = opinions.shape
    total = 0.0
    for x in range(w):
        for y in range(h):
            mean = [sum(float(opinions[p, c, x, y]) for p in range(passes)) / passes for c in range(classes)]
            each = [[float(opinions[p, c, x, y]) for c in range(classes)] for p in range(passes)]
            entropies = [-sum(q * math.log(q) for q in chances if q > 0) for chances in (mean, *each)]
            total += entropies[0] - sum(entropies[1:]) / passes
    wanted = max(0.0, total / (w * h) / math.log(classes))
    assert mean_divergence(opinions) == pytest.approx(wanted, abs=1e-6)


def test_entropy_is_1_where_nothing_is_known_and_0_where_all_is():
    unknown = np.full((3, 2, 2), 1 / 3, np.float32)
    assert pixel_entropy(unknown) == pytest.approx(np.ones((2, 2)), abs=1e-6)
    assert pixel_entropy(sure_of(disc(4))[0]).max() == 0


def test_ceal_weighs_by_the_distance_to_the_nearest_pixel_outside_the_mask():
    mask = disc(6, side=16, x=4, y=8)
    inside = np.argwhere(mask > 0)
    framed = np.pad(mask, 1)
    outside = np.argwhere(framed == 0) - 1
    wanted = np.zeros(mask.shape)
    wanted[tuple(inside.T)] = cdist(inside, outside).min(axis=1)
    assert border_distance(mask) == pytest.approx(wanted)


def test_ceal_looks_through_the_border_to_what_lies_deep_inside():
    border = repeated("ceal", disc(9), disc(8))
    hole = repeated("ceal", disc(9), disc(9) - disc(4))
    hole[1::2] = 0.6 * hole[::2] + 0.4 * hole[1::2]  # the mean still finds the whole disc
    assert score(hole, "ceal") > score(border, "ceal")
    assert score(hole, "variance") < score(border, "variance")


@pytest.mark.parametrize("name", ["ensemble", "tta"])
def test_shannon_sees_doubt_that_all_share_and_jensen_shannon_does_not(name):
    unsure = repeated(name, disc(6), certainty=0.6)
    assert score(unsure, name) == pytest.approx(0, abs=1e-6)
    assert score(unsure, name, measure_by="shannon") > 0.9
    with pytest.raises(ValueError, match="measure_by must be one of"):
        score(unsure, name, measure_by="variance")
