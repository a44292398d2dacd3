"""The pool's near-duplicates are near, many, and told apart."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from bundle.benchmark.images import (
    COPIED_SHARE,
    COPIES,
    add_near_duplicates,
    decode_pool,
    images_fingerprint,
    labelled_pool,
)
from bundle.data.datalist import load_datalist
from bundle.data.split import group_of
from bundle.data.transforms import preprocessing


@pytest.fixture(scope="module")
def pool(hospital):
    datalist = labelled_pool(load_datalist(hospital.datalist))
    return datalist, decode_pool(datalist, datalist.modality)


def test_an_image_in_memory_is_what_the_preprocessing_makes_of_its_file(pool):
    datalist, canvases = pool
    entry = datalist.section("pool")[3]
    expected, found = preprocessing(datalist.modality, label="canvas", cached=True)(entry), canvases(entry)
    assert found.keys() == expected.keys() and found["id"] == expected["id"]
    assert torch.equal(found["image"], expected["image"]) and torch.equal(found["label"], expected["label"])


def test_the_pool_is_what_may_be_labelled(pool, hospital):
    whole = load_datalist(hospital.datalist)
    assert pool[0].ids("pool") == whole.candidates() and pool[0].ids("training") == []
    bare = {
        name: tuple({k: v for k, v in e.items() if k != "label"} for e in es) for name, es in whole.sections.items()
    }
    with pytest.raises(ValueError, match="labels in the section pool"):
        labelled_pool(dataclasses.replace(whole, sections=bare))


def test_near_duplicates_are_counted_near_and_reproducible(pool):
    datalist, canvases = pool
    redundant, images = add_near_duplicates(datalist, canvases, seed=3)
    originals = set(datalist.ids("pool"))
    copies = sorted(set(redundant.ids("pool")) - originals)
    assert len(copies) == COPIES * round(COPIED_SHARE * len(originals)) and originals < set(redundant.ids("pool"))
    groups = {entry["id"]: group_of(entry) for entry in redundant.sections["pool"]}
    for copy in copies:
        original = copy.split("~")[0]
        assert groups[copy] == groups[original]
        difference = images.items[copy]["image"].float() - canvases.items[original]["image"].float()
        assert 0 < difference.abs().mean() < 25
        assert set(images.items[copy]["label"].unique().tolist()) <= {0, 1}
        assert images.items[copy]["image"].dtype == images.items[copy]["label"].dtype == torch.uint8
    again = add_near_duplicates(datalist, canvases, seed=3)[1]
    assert all(torch.equal(again.items[copy]["image"], images.items[copy]["image"]) for copy in copies)
    other = add_near_duplicates(datalist, canvases, seed=4)[1]
    assert other.items.keys() != images.items.keys() or any(
        not torch.equal(other.items[copy]["image"], images.items[copy]["image"]) for copy in copies
    )


def test_the_fingerprint_follows_pixels_and_masks_and_not_places(pool, tmp_path):
    import shutil

    datalist, _ = pool
    shutil.copytree(datalist.root, tmp_path / "images")
    shutil.copytree(datalist.label_root, tmp_path / "masks")
    moved = dataclasses.replace(datalist, root=tmp_path / "images", label_root=tmp_path / "masks")
    assert images_fingerprint(moved) == images_fingerprint(datalist)
    mask = tmp_path / "masks" / datalist.sections["test"][0]["label"]
    mask.write_bytes(mask.read_bytes() + b"\0")
    assert images_fingerprint(moved) != images_fingerprint(datalist)
