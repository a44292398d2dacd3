"""The plan pairs what it compares, and a run is told by exactly what plays a part in it."""

from __future__ import annotations

import dataclasses

import pytest

from bundle.benchmark.ledger import run_key
from bundle.benchmark.protocol import Run, plan
from bundle.commands.benchmark_labels import parse_choice
from tests.benchmark.rows import SHARED

OTHER = {
    "modality": "chest_xray",
    "data": "sha256:9",
    "size": 256,
    "pool": {"kind": "redundant", "images": 100},
    "steps": 800,
    "recipe": {"learning_rate": 0.01},
    "scoring": "bf16",
    "start_weights": "sha256:8",
    "embedding_weights": "sha256:7",
    "features": "bottleneck",
    "control": "shuffle",
}


def key(run, shared):
    return run_key(run.settings(shared))


@pytest.mark.parametrize("name", OTHER)
def test_every_setting_makes_another_run_of_a_warm_start_on_selected_labels(name):
    run = Run(0, 20, "all", parse_choice("coldstart"))
    assert key(run, SHARED) != key(run, dataclasses.replace(SHARED, **{name: OTHER[name]}))


def test_what_plays_no_part_in_a_run_does_not_make_it_another():
    others = {
        name: dataclasses.replace(SHARED, **{name: OTHER[name]})
        for name in ("start_weights", "embedding_weights", "features", "control")
    }
    drawn = Run(0, 20, "none", parse_choice("random"))
    assert all(key(drawn, SHARED) == key(drawn, shared) for shared in others.values())
    whole = Run(0, 100, "all", None)
    assert [name for name, shared in others.items() if key(whole, SHARED) != key(whole, shared)] == ["start_weights"]
    selected = Run(0, 20, "none", parse_choice("coldstart"))
    assert key(selected, SHARED) == key(selected, others["start_weights"])


def test_the_plan_finishes_all_cells_of_a_seed_before_the_next():
    choices = [parse_choice("random"), parse_choice("coldstart")]
    runs = list(plan(SHARED, seeds=range(3), budgets=[5, 10], starts=["none", "all"], choices=choices).values())
    assert [run.seed for run in runs] == [0] * 8 + [1] * 8 + [2] * 8
    assert {(r.labels, r.start, str(r.choice)) for r in runs[:8]} == {
        (r.labels, r.start, str(r.choice)) for r in runs[8:16]
    }


def test_with_all_labels_nothing_is_chosen():
    choices = [parse_choice("random"), parse_choice("coldstart")]
    runs = list(plan(SHARED, seeds=[0], budgets=[100], starts=["none", "all"], choices=choices).values())
    assert [(run.start, run.choice) for run in runs] == [("none", None), ("all", None)]


@pytest.mark.parametrize("budget", [0, 101])
def test_a_budget_out_of_range_is_refused(budget):
    with pytest.raises(ValueError, match="from 1 to the 100 images"):
        plan(SHARED, seeds=[0], budgets=[5, budget], starts=["all"], choices=[parse_choice("random")])


def test_a_choice_is_told_by_what_differs_from_the_defaults():
    assert str(parse_choice("ca:within=random,k=20")) == "ca:k=20,within=random"
    assert parse_choice("ca:quota=equal") == parse_choice("ca")
    assert parse_choice("ca:k=20").resolved["k"] == 20
    for wrong, told in (("nobody", "unknown"), ("ca:q=1", "no option"), ("ca:k", "key=value")):
        with pytest.raises(ValueError, match=told):
            parse_choice(wrong)
