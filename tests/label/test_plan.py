"""What a server may be told about ranking, and what it refuses."""

from __future__ import annotations

import pytest

from bundle.label.plan import Plan


def test_a_plan_of_nothing_is_the_nested_default():
    plan = Plan.from_conf({"models": "coldstart_dermoscopy_segmentation", "zoo_source": "local"})
    assert plan == Plan() and plan.nested and plan.budget is None


def test_options_are_read_as_yaml_reads_them():
    plan = Plan.from_conf({"strategy": "coldstart", "option.sample": "500", "seed": "3", "lease_minutes": "2.5"})
    assert plan.options == {"sample": 500} and plan.seed == 3 and plan.lease_minutes == 2.5


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"strategy": "coldstrat"}, "did you mean 'coldstart'"),
        ({"option.smaple": "5"}, "did you mean 'sample'"),
        ({"option.sample": "$print(1)"}, "would be run as code"),
        ({"strategy": "kmeans"}, "is not nested.*--conf budget N"),
        ({"strategy": "kmeans", "budget": "forty"}, "budget must be a number, got 'forty'"),
        ({"strategy": "kmeans", "budget": "0"}, "at least 1 image"),
        ({"criterion": "entropie"}, "did you mean 'entropy'"),
        ({"criterion": "ensemble"}, "a server has one"),
        ({"lease_minutes": "0"}, "must be above 0"),
        ({"lease_minutes": "nan"}, "must be above 0"),
    ],
)
def test_what_cannot_be_is_refused_with_the_rule(conf, message):
    with pytest.raises(ValueError, match=message):
        Plan.from_conf(conf)


def test_another_seed_option_or_weight_file_makes_another_ranking_and_a_default_given_does_not():
    prints = {
        Plan().fingerprint("a"),
        Plan().fingerprint("b"),
        Plan(seed=1).fingerprint("a"),
        Plan(options={"sample": 7}).fingerprint("a"),
    }
    assert len(prints) == 4
    assert Plan(options={"sample": 20000}).fingerprint("a") == Plan().fingerprint("a")
    assert Plan(lease_minutes=1).fingerprint("a") == Plan().fingerprint("a")
