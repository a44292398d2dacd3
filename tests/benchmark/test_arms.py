"""Rows are compared with what they may be compared with, and told apart where they differ."""

from __future__ import annotations

import pytest

from bundle.benchmark.arms import setups
from bundle.benchmark.comparison import check_family, compare_areas, compare_family
from bundle.benchmark.ledger import Ledger
from tests.benchmark.rows import add_rows


def gained(run) -> float:
    """Ascending with labels; warm starts .04 and selection .02 higher, seed 2 alone loses by selection."""
    selected = run.choice is not None and run.choice.strategy == "coldstart"
    gain = 0.02 if run.seed < 2 else -0.01
    return 0.5 + 0.004 * run.labels + 0.01 * run.seed + 0.04 * (run.start == "all") + gain * selected


def found(folder):
    return setups(Ledger(folder).rows())


def test_an_arm_for_every_start_and_strategy_with_random_ones_first(tmp_path):
    add_rows(tmp_path, gained)
    (setup,) = found(tmp_path)
    assert list(setup.arms) == ["all/random", "none/random", "all/coldstart", "none/coldstart"]
    assert setup.runs == 2 * 2 * 3 * 3 and setup.title == "dermoscopy, 128x128, 400 steps"
    assert setup.arms["none/random"].figures()[10] == pytest.approx({0: 0.54, 1: 0.55, 2: 0.56})
    assert setup.chance(setup.arms["all/coldstart"]) is setup.arms["all/random"]


def test_other_recipes_steps_sizes_and_images_are_other_setups(tmp_path):
    add_rows(tmp_path, gained)
    others = (
        {"steps": 800},
        {"size": 256},
        {"data": "sha256:9"},
        {"recipe": {"learning_rate": 0.1}},
        {"scoring": "bf16"},
    )
    for number, other in enumerate(others, start=2):
        add_rows(tmp_path, gained, seeds=[0], **other)
        assert len(found(tmp_path)) == number
    assert found(tmp_path)[0].settings["steps"] == 400, "the one with the most runs comes first"


def test_what_differs_from_the_usual_is_told_in_the_name(tmp_path):
    add_rows(tmp_path, gained)
    one = {"seeds": [0], "starts": ["all"], "strategies": ["coldstart"]}
    add_rows(tmp_path, gained, **one, control="shuffle")
    add_rows(tmp_path, gained, **one, features="bottleneck")
    add_rows(tmp_path, gained, **one, embedding_weights="sha256:abcdefabcdef")
    add_rows(
        tmp_path, gained, **{**one, "strategies": ["random", "ca:k=20"]}, pool={"kind": "redundant", "images": 100}
    )
    (setup,) = found(tmp_path)
    assert set(setup.arms) == {
        *("all/random", "none/random", "all/coldstart", "none/coldstart"),
        *("all/coldstart [shuffle]", "all/coldstart [bottleneck]", "all/coldstart [seen by abcdefab]"),
        *("all/random [redundant]", "all/ca:k=20 [redundant]"),
    }
    redundant = setup.arms["all/ca:k=20 [redundant]"]
    assert setup.chance(redundant) is setup.arms["all/random [redundant]"]
    assert setup.chance(setup.arms["all/coldstart [shuffle]"]) is setup.arms["all/random"]


def test_an_area_is_taken_of_seeds_with_every_budget_alone(tmp_path):
    add_rows(tmp_path, gained, starts=["none"], strategies=["random"])
    add_rows(tmp_path, gained, starts=["none"], strategies=["random"], seeds=[7], budgets=[5, 10])
    arm = found(tmp_path)[0].arms["none/random"]
    # (.52 + .54) / 2 and (.54 + .58) / 2 over two doublings.
    assert arm.areas([5, 10, 20]) == pytest.approx({0: 0.545, 1: 0.555, 2: 0.565})
    assert set(arm.areas([5, 10])) == {0, 1, 2, 7}
    assert arm.areas([5, 40]) == {} and arm.areas([5]) == {}


def test_a_difference_of_areas_is_paired_by_seed(tmp_path):
    add_rows(tmp_path, gained)
    add_rows(tmp_path, gained, starts=["all"], strategies=["coldstart"], seeds=[9])
    (setup,) = found(tmp_path)
    difference = compare_areas(setup, "all/coldstart", "none/random", [5, 10, 20])
    assert (difference.paired.n, difference.paired.wins, difference.paired.losses) == (3, 3, 0)
    assert difference.interval.mean == pytest.approx((0.06 + 0.06 + 0.03) / 3)
    assert (difference.interval.low, difference.interval.high) == pytest.approx((0.03, 0.06))
    assert difference.error_cut == pytest.approx(0.05 / (1 - 0.555))
    assert difference.p == pytest.approx(0.25)
    assert compare_areas(setup, "all/coldstart", "all/ca", [5, 10]) is None


def test_a_name_without_its_remarks_is_the_only_arm_that_has_it_and_never_a_control(tmp_path):
    drawn = {"pool": {"kind": "curated", "images": 100, "candidates": 50}}
    add_rows(tmp_path, gained, **drawn)
    add_rows(tmp_path, gained, starts=["all"], strategies=["ca"], **drawn, control="shuffle")
    (setup,) = found(tmp_path)
    difference = compare_areas(setup, "all/coldstart", "none/random", [5, 10, 20])
    assert difference.a == "all/coldstart [50 candidates]" and difference.paired.wins == 3
    assert compare_areas(setup, "all/ca", "none/random", [5, 10, 20]) is None
    add_rows(tmp_path, gained, starts=["all"], strategies=["coldstart"], **drawn, features="bottleneck")
    (setup,) = found(tmp_path)
    assert compare_areas(setup, "all/coldstart", "none/random", [5, 10, 20]) is None, "which of the two?"
    assert compare_areas(setup, "all/coldstart [50 candidates]", "none/random", [5, 10, 20]) is not None


def test_arms_that_chose_from_different_pools_are_not_compared(tmp_path):
    add_rows(tmp_path, gained, strategies=["random"])
    add_rows(tmp_path, gained, strategies=["coldstart"], pool={"kind": "redundant", "images": 100})
    (setup,) = found(tmp_path)
    assert setup.arm("all/coldstart") is setup.arms["all/coldstart [redundant]"]
    assert compare_areas(setup, "all/coldstart", "all/random", [5, 10, 20]) is None


def test_a_family_corrects_what_was_tested_and_names_what_was_not(tmp_path):
    add_rows(tmp_path, gained, seeds=range(10))
    (setup,) = found(tmp_path)
    family = ["all/random vs none/random", "all/coldstart vs all/random", "all/ca vs all/random"]
    tested, missing = compare_family(setup, family, [5, 10, 20])
    assert missing == ["all/ca vs all/random"]
    assert [found.a for found in tested] == ["all/random", "all/coldstart"]
    assert tested[0].p == pytest.approx(2 / 2**10) and tested[0].corrected == pytest.approx(2 * 2 / 2**10)
    assert tested[1].paired.losses == 8 and tested[1].corrected >= tested[1].p


@pytest.mark.parametrize("family", [["all/random"], ["a vs b"] * 2, [f"a vs {n}" for n in range(6)], []])
def test_what_is_no_family_is_refused(family):
    with pytest.raises(ValueError, match="comparison"):
        check_family(family)
