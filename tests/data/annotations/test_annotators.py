"""Several annotators: how far they agree, and one mask of theirs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.data.annotations.annotators import RULES, agreement, combine

SIZE = (5, 6)


def drawn(seed: int, people: int, classes: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {f"p{i}": rng.integers(0, classes, SIZE).astype(np.uint8) for i in range(people)}


@pytest.mark.parametrize("classes", [2, 4])
def test_agreement_is_the_dice_of_every_two(classes):
    masks = drawn(0, 3, classes)
    found = agreement(masks, classes)
    assert set(found) == {("p0", "p1"), ("p0", "p2"), ("p1", "p2")}
    for (a, b), dice in found.items():
        terms = []
        for label in range(1, classes):
            left = {tuple(p) for p in np.argwhere(masks[a] == label)}
            right = {tuple(p) for p in np.argwhere(masks[b] == label)}
            terms.append(2 * len(left & right) / (len(left) + len(right)))
        assert dice == pytest.approx(sum(terms) / len(terms))


def test_agreement_on_nothing_is_full_and_on_one_sided_findings_none():
    empty, full = np.zeros(SIZE, np.uint8), np.ones(SIZE, np.uint8)
    assert agreement({"a": empty, "b": empty}, 2) == {("a", "b"): 1.0}
    assert agreement({"a": empty, "b": full}, 2) == {("a", "b"): 0.0}


@given(st.integers(0, 50), st.integers(1, 5), st.integers(2, 4))
def test_consensus_is_the_class_of_more_than_half(seed, people, classes):
    masks = drawn(seed, people, classes)
    found = combine(masks, classes, "consensus")
    for place in np.ndindex(SIZE):
        votes = [int(mask[place]) for mask in masks.values()]
        winner = next((label for label in range(1, classes) if 2 * votes.count(label) > len(votes)), 0)
        assert found[place] == winner


def test_first_is_by_name_whatever_the_order():
    masks = drawn(1, 3, 2)
    np.testing.assert_array_equal(combine(dict(reversed(masks.items())), 2, "first"), masks["p0"])


@pytest.mark.parametrize("rule", RULES)
def test_one_annotator_or_a_unanimous_choice_is_taken_as_it_is(rule):
    mask = drawn(2, 1, 3)["p0"]
    np.testing.assert_array_equal(combine({"a": mask}, 3, rule), mask)
    np.testing.assert_array_equal(combine({"a": mask, "b": mask.copy(), "c": mask.copy()}, 3, rule), mask)


def test_staple_follows_the_reliable_and_not_the_careless():
    truth = np.zeros((40, 40), np.uint8)
    truth[10:30, 8:32] = 1
    rng = np.random.default_rng(0)

    def noisy(share: float) -> np.ndarray:
        return np.where(rng.random(truth.shape) < share, 1 - truth, truth).astype(np.uint8)

    masks = {"a": noisy(0.02), "b": noisy(0.45), "c": noisy(0.45)}
    staple, majority = (combine(masks, 2, rule) for rule in ("staple", "consensus"))
    assert (staple != truth).mean() < 0.05 < (majority != truth).mean()
    np.testing.assert_array_equal(combine(masks, 2, "staple"), staple)


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="consensus, first, staple"):
        combine(drawn(0, 2, 2), 2, "vote")
