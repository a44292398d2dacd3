"""Vectors of a growing pool: those of the embed stage, made once an image."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bundle.commands import run_verb
from bundle.data.datalist import Datalist
from bundle.data.modality import load_modality
from bundle.embedding import Embeddings
from bundle.label import descriptions
from bundle.label.descriptions import Descriptions, PoolImage
from bundle.network import UNet
from bundle.run.quarantine import Quarantine
from bundle.weights import save_weights

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return draw_weights(tmp_path_factory.mktemp("weights") / "ssl.pt", seed=0)


def draw_weights(path: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    return save_weights(path, UNet(3, 2), {"modality": "dermoscopy", "size": 128})


@pytest.fixture
def folder(tmp_path) -> Path:
    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for i in range(5):
        pixels = rng.integers(0, 256, (40 + i, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"img_{i}.png")
    return images


def pool(folder: Path) -> list[PoolImage]:
    return [PoolImage(path.stem, path) for path in sorted(folder.iterdir())]


def make(folder: Path, weights: Path) -> Descriptions:
    return Descriptions(folder / "embeddings", weights, load_modality("dermoscopy"), CPU)


@pytest.fixture
def described(monkeypatch) -> list[str]:
    """The ids that were read."""
    seen: list[str] = []
    read = descriptions.read_batches
    monkeypatch.setattr(
        descriptions, "read_batches", lambda todo, *a, **k: (seen.extend(i.id for i in todo), read(todo, *a, **k))[1]
    )
    return seen


def test_the_vectors_are_those_of_the_embed_stage(folder, weights, tmp_path):
    found = make(tmp_path, weights).update(pool(folder), Quarantine())
    entries = tuple({"id": image.id, "image": image.path.name} for image in pool(folder))
    Datalist("dermoscopy", folder, None, {"pool": entries}).save(tmp_path / "datalist.json")
    argv = ["--datalist", str(tmp_path / "datalist.json"), "--weights", str(weights), "--out", str(tmp_path / "stage")]
    assert run_verb("embed", argv) == 0
    stage = Embeddings.load(tmp_path / "stage")
    assert found.ids == stage.ids
    np.testing.assert_allclose(found.vectors, stage.vectors, rtol=1e-4, atol=1e-6)


def test_an_image_is_read_once_and_again_when_its_file_changes(folder, weights, tmp_path, described):
    make(tmp_path, weights).update(pool(folder), Quarantine())
    assert sorted(described) == [f"img_{i}" for i in range(5)]
    before = make(tmp_path, weights).update(pool(folder), Quarantine())
    assert len(described) == 5
    Image.new("RGB", (50, 50), "red").save(folder / "img_2.png")
    after = make(tmp_path, weights).update(pool(folder), Quarantine())
    assert described[5:] == ["img_2"]
    changed = [i for i in range(5) if not np.array_equal(before.vectors[i], after.vectors[i])]
    assert changed == [2]


def test_new_images_join_and_gone_ones_leave(folder, weights, tmp_path, described):
    make(tmp_path, weights).update(pool(folder), Quarantine())
    shutil.copy(folder / "img_0.png", folder / "img_9.png")
    (folder / "img_1.png").unlink()
    found = make(tmp_path, weights).update(pool(folder), Quarantine())
    assert found.ids == ("img_0", "img_2", "img_3", "img_4", "img_9") and described[5:] == ["img_9"]


def test_an_unreadable_image_is_set_aside_and_tried_again_when_its_file_changes(folder, weights, tmp_path, described):
    (folder / "img_7.png").write_bytes(b"no picture")
    for attempt in range(2):
        aside = Quarantine()
        found = make(tmp_path, weights).update(pool(folder), aside)
        assert [row["path"] for row in aside.rows] == ["img_7"], attempt
        assert len(found) == 5 and make(tmp_path, weights).unreadable() == {"img_7"}
    assert described.count("img_7") == 1 and not make(tmp_path, weights).may_read_again(pool(folder))
    Image.new("RGB", (50, 50), "red").save(folder / "img_7.png")
    assert make(tmp_path, weights).may_read_again(pool(folder))
    assert len(make(tmp_path, weights).update(pool(folder), Quarantine())) == 6
    assert make(tmp_path, weights).unreadable() == set()


def test_other_weights_describe_anew(folder, weights, tmp_path):
    before = make(tmp_path, weights).update(pool(folder), Quarantine())
    after = make(tmp_path, draw_weights(tmp_path / "other.pt", seed=1)).update(pool(folder), Quarantine())
    assert not np.allclose(before.vectors, after.vectors)


def test_a_killed_run_goes_on_where_it_was(folder, weights, tmp_path, monkeypatch, described):
    monkeypatch.setattr(descriptions, "BATCH", 1)
    monkeypatch.setattr(descriptions, "KEPT_EVERY", 2)
    read = descriptions.read_batches

    def killed_at_the_fifth(*args, **options):
        for number, batch in enumerate(read(*args, **options)):
            if number == 4:
                raise KeyboardInterrupt
            yield batch

    with monkeypatch.context() as during, pytest.raises(KeyboardInterrupt):
        during.setattr(descriptions, "read_batches", killed_at_the_fifth)
        make(tmp_path, weights).update(pool(folder), Quarantine())
    described.clear()
    assert len(make(tmp_path, weights).update(pool(folder), Quarantine())) == 5
    assert described == ["img_4"]


def test_a_pool_without_a_readable_image_has_no_vectors(weights, tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    assert make(tmp_path, weights).update([PoolImage("a", tmp_path / "a.png")], Quarantine()) is None
    assert make(tmp_path, weights).update([], Quarantine()) is None
