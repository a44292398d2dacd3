"""Images of one patient are one group, whatever tells so."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from bundle.data.groups import KINDS, join_ties


def test_an_image_without_its_patient_joins_the_patient_of_its_study():
    ties = [(("study", "s"),), (("patient", "p"), ("study", "s")), (("study", "t"),)]
    assert join_ties(ties) == ["p", "p", "t"]


def test_an_image_that_no_rule_fits_joins_what_the_rule_makes_of_its_patient():
    ties = [(("patient", "p"), ("study", "s")), (("rule", "r"), ("patient", "p"), ("study", "t")), (("study", "s"),)]
    assert join_ties(ties) == ["r", "r", "r"], "and takes along what only its study tells of"


def test_a_rule_parts_what_a_placeholder_holds_together():
    ties = [(("rule", "a"), ("patient", "ANON")), (("rule", "b"), ("patient", "ANON")), (("patient", "ANON"),)]
    assert join_ties(ties) == ["a", "b", "ANON"], "nothing tells whether the third is of a or of b"


def test_an_image_without_ties_has_no_group():
    assert join_ties([(), (("patient", "p"),)]) == [None, "p"]


@given(st.lists(st.tuples(*(st.one_of(st.none(), st.sampled_from("ab")) for _ in KINDS)), max_size=8))
def test_images_of_one_strongest_tie_are_one_group_in_any_order(told):
    ties = [tuple((kind, f"{kind} {name}") for kind, name in zip(KINDS, names, strict=True) if name) for names in told]
    groups = join_ties(ties)
    for (one, first), (other, second) in itertools.combinations(zip(ties, groups, strict=True), 2):
        if one and other and one[0] == other[0]:
            assert first == second
    assert join_ties(ties[::-1]) == groups[::-1]
