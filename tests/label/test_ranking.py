"""The ranking that grows: ranks stay, late images come after, and every image without a label gets one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.embedding import Embeddings
from bundle.label.plan import Plan
from bundle.label.ranking import Ranking
from bundle.selection import select

PLANS = [Plan(), Plan(strategy="maxherding"), Plan(strategy="kmeans", budget=5), Plan(strategy="random", seed=3)]


def pool(count: int, seed: int = 0) -> Embeddings:
    vectors = np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)
    return Embeddings(tuple(f"img_{i:02d}" for i in range(count)), vectors)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.strategy)
def test_every_image_without_label_gets_a_rank_of_its_own(plan):
    ranking = Ranking("f").extended(pool(20), plan, labelled={"img_03", "img_07"})
    assert [row.rank for row in ranking.rows] == list(range(1, 19))
    assert {row.id for row in ranking.rows} == set(pool(20).ids) - {"img_03", "img_07"}


def test_the_first_ranks_are_the_selection_of_the_same_budget():
    ranking = Ranking("f").extended(pool(20), Plan(), labelled=())
    assert [row.id for row in ranking.rows[:6]] == list(select(pool(20), strategy="coldstart", budget=6).ids)


def test_a_strategy_that_is_not_nested_ranks_its_budget_and_coldstart_the_rest():
    ranking = Ranking("f").extended(pool(20), Plan(strategy="kmeans", budget=5), labelled=())
    first = select(pool(20), strategy="kmeans", budget=5).ids
    assert tuple(row.id for row in ranking.rows[:5]) == first
    rest = select(pool(20), strategy="coldstart", budget=15, labelled=first).ids
    assert tuple(row.id for row in ranking.rows[5:]) == rest


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.strategy)
@given(steps=st.lists(st.integers(1, 6), min_size=1, max_size=4), labels=st.sets(st.integers(0, 5)))
def test_late_images_come_after_and_move_none_of_the_earlier(plan, steps, labels):
    whole = pool(30)
    ranking, count = Ranking("f"), 8
    ranking = ranking.extended(whole.subset(whole.ids[:count]), plan, labelled=())
    for step in steps:
        before = ranking
        count = min(30, count + step)
        labelled = {before.rows[i].id for i in labels}
        ranking = before.extended(whole.subset(whole.ids[:count]), plan, labelled=labelled)
        assert ranking.rows[: len(before.rows)] == before.rows
        assert [row.rank for row in ranking.rows] == list(range(1, count + 1))


def test_a_late_image_that_looks_like_a_ranked_one_comes_after_one_that_does_not():
    whole = pool(12)
    vectors = whole.vectors.copy()
    vectors[10] = vectors[0]
    whole = Embeddings(whole.ids, vectors)
    early = Ranking("f").extended(whole.subset(whole.ids[:10]), Plan(), labelled=())
    assert [row.id for row in early.extended(whole, Plan(), labelled=()).rows[10:]] == ["img_11", "img_10"]


def test_ranking_again_changes_nothing(tmp_path):
    ranking = Ranking("f").extended(pool(9), Plan(), labelled={"img_00"})
    assert ranking.extended(pool(9), Plan(), labelled={"img_00", "img_04"}) is ranking
    assert Ranking.load(ranking.save(tmp_path / "ranking.json"), "f") == ranking


def test_a_kept_ranking_of_other_weights_or_another_plan_is_not_taken(tmp_path):
    path = Ranking("f").extended(pool(9), Plan(), labelled=()).save(tmp_path / "ranking.json")
    assert Ranking.load(path, "g").rows == () and Ranking.load(tmp_path / "absent.json", "f").rows == ()


def test_a_label_that_was_removed_brings_its_image_back_at_the_end():
    ranking = Ranking("f").extended(pool(9), Plan(), labelled={"img_05"})
    assert ranking.extended(pool(9), Plan(), labelled=()).rows[-1].id == "img_05"
