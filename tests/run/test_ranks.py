"""Which process does what. What several processes do together is in tests/commands/test_ranks.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.run import ranks


@pytest.fixture
def place(monkeypatch):
    """``place(rank, size)`` makes this process one of several, as far as asking goes."""

    def put(rank: int, size: int) -> None:
        monkeypatch.setattr(ranks, "_place", ranks._Place(rank, size, rank))

    return put


@given(st.integers(1, 9), st.integers(0, 60))
def test_parts_cut_the_whole_into_pieces_of_nearly_one_length(size, count):
    with pytest.MonkeyPatch.context() as patch:
        parts = []
        for rank in range(size):
            patch.setattr(ranks, "_place", ranks._Place(rank, size, rank))
            parts.append([] if ranks.repeats(count) else list(ranks.part(count)))
            assert len(ranks.part(count)) or not count, "an engine refuses to work on nothing"
    assert [position for part in parts for position in part] == list(range(count))
    if count >= size:
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_only_the_first_does_what_only_the_first_shall(place):
    calls = []
    note = ranks.only_first(calls.append)
    for rank in range(3):
        place(rank, 3)
        note(rank)
    assert calls == [0]


def test_one_process_is_the_first_of_one_and_keeps_what_it_has():
    assert (ranks.rank(), ranks.world_size(), ranks.local_rank(), ranks.is_first()) == (0, 1, 0, True)
    assert ranks.gather_items(["a", "b"]) == ["a", "b"]
    assert ranks.first_for_all(lambda: 3)() == 3
    ranks.leave()


def test_without_torchrun_the_overlay_says_what_is_missing(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match=r"RANK, WORLD_SIZE, LOCAL_RANK: run torchrun"):
        ranks.join()


def test_processes_that_do_not_know_of_each_other_are_refused(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "job")
    monkeypatch.setenv("WORLD_SIZE", "1")
    ranks.check_joined()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=r"started 2 processes.*multi_gpu_train\.yaml"):
        ranks.check_joined()
