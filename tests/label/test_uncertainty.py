"""How unsure a model is of each image, and that it is asked once a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bundle.commands import run_verb
from bundle.data.datalist import Datalist
from bundle.data.modality import load_modality
from bundle.label import uncertainty
from bundle.label.descriptions import PoolImage
from bundle.label.models import PackagedModel
from bundle.label.stand_in import write_stand_in
from bundle.label.uncertainty import Uncertainty
from bundle.network import UNet
from bundle.selection.uncertainty import Uncertainties
from bundle.weights import save_weights

CPU = torch.device("cpu")


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
    read = uncertainty.read_batches
    monkeypatch.setattr(
        uncertainty, "read_batches", lambda todo, *a, **k: (seen.extend(i.id for i in todo), read(todo, *a, **k))[1]
    )
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


def test_the_scores_are_those_of_the_command(model, images, tmp_path):
    entries = tuple({"id": image.id, "image": image.path.name} for image in images)
    Datalist("dermoscopy", tmp_path, None, {"pool": entries}).save(tmp_path / "datalist.json")
    argv = ["--datalist", str(tmp_path / "datalist.json"), "--model", str(model.model), "--criterion", "entropy"]
    assert run_verb("score_uncertainty", [*argv, "--out", str(tmp_path / "scores")]) == 0
    told = Uncertainties.load(tmp_path / "scores")
    found = Uncertainty(tmp_path / "uncertainty.json").update(images, model, CPU)
    assert found == pytest.approx({name: row.score for name, row in told.items()}, abs=1e-6)


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
