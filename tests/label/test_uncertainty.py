"""How unsure a model is of each image, and that it is asked once a model."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bundle.data.modality import load_modality
from bundle.label import descriptions
from bundle.label.descriptions import PoolImage
from bundle.label.models import PackagedModel
from bundle.label.stand_in import write_stand_in
from bundle.label.uncertainty import Uncertainty, entropy, score
from bundle.network import UNet
from bundle.weights import save_weights

CPU = torch.device("cpu")


def opinions(*planes: list[list[float]]) -> np.ndarray:
    """One opinion on a 2 x 2 image, from the probabilities of each class."""
    return np.array([planes], dtype=np.float32)


def test_entropy_is_that_of_a_loop_over_pixels():
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1, 1, 1], size=(4, 5)).transpose(2, 0, 1).astype(np.float32)
    total = 0.0
    for x in range(4):
        for y in range(5):
            for k in range(3):
                total -= float(p[k, x, y]) * math.log(float(p[k, x, y]))
    assert entropy(p[None]) == pytest.approx(total / 20 / math.log(3), rel=1e-5)


def test_a_certain_image_has_none_and_an_even_one_all():
    assert entropy(opinions([[0.0, 1.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]])) == pytest.approx(0, abs=1e-6)
    assert entropy(opinions([[0.5] * 2] * 2, [[0.5] * 2] * 2)) == pytest.approx(1)


def test_an_image_on_which_nothing_is_found_comes_before_every_other():
    sure_of_nothing = opinions([[0.99] * 2] * 2, [[0.01] * 2] * 2)
    unsure_of_something = opinions([[0.5, 0.49], [0.5, 0.5]], [[0.5, 0.51], [0.5, 0.5]])
    assert score(sure_of_nothing, entropy) > score(unsure_of_something, entropy)


@pytest.fixture
def model(tmp_path) -> PackagedModel:
    found = PackagedModel(tmp_path / "package", load_modality("dermoscopy"))
    draw_model(found, seed=0)
    return found


def draw_model(model: PackagedModel, seed: int) -> None:
    torch.manual_seed(seed)
    model.model.parent.mkdir(parents=True, exist_ok=True)
    save_weights(model.model, UNet(3, 2), {"modality": "dermoscopy", "size": 128})


@pytest.fixture
def images(tmp_path) -> list[PoolImage]:
    rng = np.random.default_rng(0)
    found = []
    for i, size in enumerate([(40, 60), (60, 40), (50, 50)]):
        file = tmp_path / f"img_{i}.png"
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(file)
        found.append(PoolImage(file.stem, file))
    return found


def test_scores_are_made_once_a_model(model, images, tmp_path, monkeypatch):
    seen: list[str] = []
    read = descriptions.read_canvas
    monkeypatch.setattr(descriptions, "read_canvas", lambda image, p: (seen.append(image.id), read(image, p))[1])
    kept = Uncertainty(tmp_path / "uncertainty.json")
    ids = [image.id for image in images]
    assert kept.scores() == {} and not kept.is_current(ids, model)
    first = kept.update(images[:2], model, CPU)
    assert sorted(seen) == ids[:2] and kept.is_current(ids[:2], model) and not kept.is_current(ids, model)
    second = kept.update(images, model, CPU)
    assert seen[2:] == ids[2:] and {i: second[i] for i in ids[:2]} == first
    draw_model(model, seed=1)
    assert not kept.is_current(ids, model)
    assert kept.update(images, model, CPU) != second and len(seen) == 6


def test_an_image_on_its_own_scores_as_in_a_batch(model, images, tmp_path):
    together = Uncertainty(tmp_path / "a.json").update(images, model, CPU)
    for image in images:
        alone = Uncertainty(tmp_path / f"{image.id}.json").update([image], model, CPU)
        assert alone[image.id] == pytest.approx(together[image.id], abs=1e-5)


def test_an_unreadable_image_has_no_score(model, images, tmp_path):
    Path(images[1].path).write_bytes(b"no picture")
    kept = Uncertainty(tmp_path / "uncertainty.json")
    assert set(kept.update(images, model, CPU)) == set(kept.scores()) == {"img_0", "img_2"}
    assert kept.is_current([image.id for image in images], model), "it is not tried with every request"


def test_a_stand_in_counts_as_untrained_and_starts_where_the_first_training_does(model, tmp_path):
    assert model.is_trained
    write_stand_in(model.model, "dermoscopy", str(save_ssl(tmp_path)))
    assert not model.is_trained
    with pytest.raises(ValueError, match="give --weights"):
        write_stand_in(model.model, "dermoscopy", None)


def save_ssl(folder: Path) -> Path:
    torch.manual_seed(3)
    return save_weights(folder / "ssl.pt", UNet(3, 2), {"modality": "dermoscopy", "size": 128})
