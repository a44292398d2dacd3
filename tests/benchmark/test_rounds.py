"""What rounds give, from the rows of finished runs."""

from __future__ import annotations

import pytest

from bundle.benchmark.rounds import ONE_SHOT, compare, final_scores, groups_table, scores_by_group


def test_recipes_are_compared_seed_by_seed_and_corrected_for_their_number():
    rows = [
        {"recipe": name, "seed": seed, "labels": labels, "dice": 0.5 + gain * (seed + 1) / 100 * (labels == 5)}
        for name, gain in (("dsal", 2), ("bald", -1), ("random", 1), (ONE_SHOT, 0))
        for seed in range(8)
        for labels in (3, 5)
    ]
    found = {(row["recipe"], row["against"]): row for row in compare(final_scores(rows, labels=5))["comparisons"]}
    assert len(found) == 5
    best = found["dsal", ONE_SHOT]
    assert (
        best["n"] == best["wins"] == 8 and best["mean"] == pytest.approx(0.09) and best["p"] == pytest.approx(2 / 2**8)
    )
    assert best["p_holm"] == pytest.approx(3 * 2 / 2**8), "three tests against one-shot with the same p"
    assert found["bald", "random"]["losses"] == 8


def test_a_group_is_scored_by_the_mean_of_its_own_images_over_the_seeds():
    groups = {"skin tone": {"light": ["a", "b"], "dark": ["c"]}, "site": {"one": ["a", "c"]}}
    final = {
        "dsal": {0: {"a": 0.5, "b": 0.7, "c": 0.1}, 1: {"a": 0.7, "b": 0.9, "c": 0.3}},
        "random": {0: {"a": 0.4, "b": 0.4, "c": 0.4}},
    }
    rows = scores_by_group(final, groups)
    found = {(row["kind"], row["group"], row["recipe"]): row for row in rows}
    assert len(found) == 6
    assert found["skin tone", "light", "dsal"]["dice"] == pytest.approx((0.6 + 0.8) / 2)
    assert found["skin tone", "light", "dsal"]["sd"] == pytest.approx(0.2 / 2**0.5)
    assert found["skin tone", "dark", "dsal"]["dice"] == pytest.approx(0.2)
    assert found["site", "one", "dsal"]["dice"] == pytest.approx((0.3 + 0.5) / 2)
    assert found["site", "one", "random"]["seeds"] == 1 and found["site", "one", "random"]["images"] == 2
    assert groups_table(rows)[2] == "| skin tone: light | 2 | 0.7000 ± 0.1414 | 0.4000 ± – |"
