"""The state of rounds is whole, comes back as it was, and never asks twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.rounds.state import FILE_NAME, Round, RoundsState

SCORES = {"section": "test", "n": 2, "dice": 0.8, "dice_low": 0.7, "dice_high": 0.9}


@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4), pseudo=st.booleans())
def test_what_was_kept_comes_back_and_labels_add_up(sizes, pseudo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rounds")
    state, names = RoundsState(folder, "d"), iter(f"i{n}" for n in range(99))
    kept = []
    for number, size in enumerate(sizes):
        one = Round(number, queried=tuple(next(names) for _ in range(size)))
        state.keep(one)
        one = Round(number, one.queried, ("sure",) if pseudo else (), 0.5 if pseudo else None, SCORES, finished=True)
        kept.append(state.keep(one))
    again = RoundsState(folder, "d")
    assert again.rounds == kept and again.rows() == state.rows()
    assert [row["labels"] for row in again.rows()] == [sum(sizes[: n + 1]) for n in range(len(sizes))]
    assert again.labelled(len(sizes)) == sorted(name for one in kept for name in one.queried)
    assert again.round(len(sizes)) == Round(len(sizes))


def test_no_image_is_asked_for_twice_and_none_has_both_kinds_of_label(tmp_path):
    state = RoundsState(tmp_path, "d")
    state.keep(Round(0, ("a", "b")))
    for wrong, told in (
        (Round(1, ("a",)), "'a' again"),
        (Round(1, ("c", "c")), "again"),
        (Round(1, ("c",), pseudo=("b",)), "'b' is the expert's"),
        (Round(1, ("c",), pseudo=("c",)), "'c' is the expert's"),
    ):
        with pytest.raises(ValueError, match=told):
            state.keep(wrong)
    assert RoundsState(tmp_path, "d").rounds == [Round(0, ("a", "b"))]


@pytest.mark.parametrize("content", ["", "{}", '{"datalist": "d", "rounds": [{"number": 0}]}', "[]"])
def test_what_is_no_state_is_refused(tmp_path, content):
    (tmp_path / FILE_NAME).write_text(content)
    with pytest.raises(ValueError, match="no state of rounds"):
        RoundsState(tmp_path, "d")


def test_the_state_of_another_datalist_is_refused(tmp_path):
    RoundsState(tmp_path, "d").keep(Round(0, ("a",)))
    with pytest.raises(ValueError, match="another datalist"):
        RoundsState(tmp_path, "e")
