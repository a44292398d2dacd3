"""Batches are read ahead in order, and an image that cannot be read leaves the others alone."""

from __future__ import annotations

import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import Dataset
from monai.transforms import Compose

from bundle.data.pictures import UnreadableImage
from bundle.data.read_ahead import ReadAhead
from bundle.data.workers import beside_the_network


def load(entry: dict) -> dict:
    if entry["broken"]:
        raise UnreadableImage(entry["image"], "the picture is cut short")
    return {"id": entry["id"], "image": torch.full((1, 2, 2), float(entry["id"]))}


def entries(broken: list[bool]) -> list[dict]:
    return [{"id": i, "image": f"/in/{i}.png", "broken": flag} for i, flag in enumerate(broken)]


@given(broken=st.lists(st.booleans(), min_size=1, max_size=12), size=st.integers(1, 5), ahead=st.integers(1, 3))
def test_every_readable_image_comes_once_in_order_and_the_others_are_set_aside(broken, size, ahead):
    loader = ReadAhead(Dataset(entries(broken), Compose([load])), size, root="/in", ahead=ahead)
    wanted = [i for i, flag in enumerate(broken) if not flag]
    for _ in range(2):  # a second pass is like the first
        batches = list(loader)
        assert [item["id"] for batch in batches for item in batch["items"]] == wanted
        assert all(len(batch["items"]) == size for batch in batches[:-1])
        for batch in batches:
            assert batch["image"][:, 0, 0, 0].tolist() == [item["id"] for item in batch["items"]]
        assert [row["path"] for row in loader.aside.rows] == [f"{i}.png" for i, flag in enumerate(broken) if flag]
        assert all(row["reason"] == "unreadable: the picture is cut short" for row in loader.aside.rows)


def test_an_error_that_is_no_matter_of_the_image_is_raised():
    def fails(_: dict) -> dict:
        raise KeyError("a slip")

    with pytest.raises(RuntimeError):
        list(ReadAhead(Dataset(entries([False]), Compose([fails])), 1))


def test_no_more_than_the_batches_ahead_are_read_before_they_are_asked_for():
    begun = []
    loader = iter(ReadAhead(Dataset(entries([False] * 40), lambda e: (begun.append(e["id"]), load(e))[1]), 4, ahead=2))
    next(loader)
    assert len(begun) <= 4 + 2 * 4


def test_an_empty_dataset_gives_no_batch():
    assert list(ReadAhead(Dataset([]), 2)) == []


def test_workers_compute_on_one_core_and_the_caller_on_as_many_as_before():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with beside_the_network(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 1
            assert torch.get_num_threads() == 2
        found: list[int] = []
        later = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        later.start()
        later.join()
        assert found == [2] == [torch.get_num_threads()]
    finally:
        torch.set_num_threads(before)
