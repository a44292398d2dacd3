"""The distance to the training images: Mahalanobis', calibrated on images held back, whatever the number of images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.covariance import LedoitWolf

from bundle.data.modality import load_modality
from bundle.network import UNet
from bundle.segmentation.domain import FEWEST, IMAGES, TrainingDomain, fit, out_of_domain, training_domain

MODALITY = load_modality("dermoscopy")


def gaussian(count: int, seed: int = 0) -> torch.Tensor:
    """Descriptors of 12 features, some of them alike."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(count, 6)) @ np.random.default_rng(9).normal(size=(6, 12)) * 0.1
    return torch.from_numpy(mixed + rng.normal(scale=0.01, size=(count, 12)) + 3)


def test_the_distance_is_mahalanobis_with_a_shrunk_covariance():
    vectors, others = gaussian(80), gaussian(5, seed=1)
    reference = fit(vectors)
    spread = vectors.numpy().std(axis=0)
    model = LedoitWolf(assume_centered=True).fit((vectors.numpy() - vectors.numpy().mean(axis=0)) / spread)
    for vector in others:
        away = (vector.numpy() - vectors.numpy().mean(axis=0)) / spread
        expected = np.sqrt(away @ model.precision_ @ away)
        found = out_of_domain(vector.float(), reference) * float(reference["border"])
        assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("count", "share"), [(20, 0.25), (60, 0.1), (300, 0.03)])
def test_few_of_the_same_kind_are_called_far_and_all_of_another_kind(count, share):
    reference = fit(gaussian(count))
    same = [out_of_domain(vector.float(), reference) for vector in gaussian(400, seed=2)]
    assert np.mean(np.array(same) > 1) < share
    assert min(out_of_domain(vector.float() + 0.2, reference) for vector in gaussian(50, seed=3)) > 1


def test_a_feature_that_never_varies_says_nothing():
    vectors = gaussian(60)
    vectors[:, 4] = 1.0
    reference, moved = fit(vectors), vectors[0].clone()
    moved[4] = 100.0
    assert out_of_domain(moved.float(), reference) == pytest.approx(
        out_of_domain(vectors[0].float(), reference), rel=1e-5
    )


def test_without_a_reference_nothing_is_told_and_another_length_is_refused():
    assert out_of_domain(torch.zeros(12), {}) is None
    with pytest.raises(ValueError, match="12 features, the network gives 5"):
        out_of_domain(torch.zeros(5), fit(gaussian(30)))


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> list[dict[str, str]]:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    entries = []
    for i in range(FEWEST + 4):
        path = folder / f"{i:02d}.png"
        Image.fromarray(rng.integers(60, 200, (20, 30, 3), dtype=np.uint8)).save(path)
        entries.append({"id": path.stem, "image": str(path)})
    return entries


def test_a_reference_is_of_tensors_the_same_for_any_order_and_leaves_the_network_as_it_was(images):
    torch.manual_seed(0)
    network = UNet(3, 2).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = TrainingDomain(images, modality=MODALITY)(network)
    again = TrainingDomain(images[::-1], modality=MODALITY)(network)
    assert set(found) == {"mean", "factor", "border", "images", "sharpness", "brightness"}
    assert all(torch.equal(found[name], again[name]) and found[name].dtype == torch.float32 for name in found)
    assert (
        float(found["images"]) == len(images) and 0 < float(found["brightness"][0]) < float(found["brightness"][1]) < 1
    )
    assert network.training and all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_few_images_give_no_reference_and_many_a_seeded_draw(images):
    assert TrainingDomain(images[: FEWEST - 1], modality=MODALITY)(UNet(3, 2)) == {}
    many = [{"id": str(i), "image": f"/{i}.png"} for i in range(IMAGES + 50)]
    draws = [[e["id"] for e in TrainingDomain(many, modality=MODALITY, seed=s).entries] for s in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2] and len(set(draws[0])) == IMAGES


def test_an_image_that_is_gone_is_left_out_with_a_warning(images, caplog):
    torch.manual_seed(0)
    gone = [*images, {"id": "gone", "image": "/nowhere/gone.png"}]
    found = TrainingDomain(gone, modality=MODALITY)(UNet(3, 2))
    assert float(found["images"]) == len(images) and "'gone'" in caplog.text


def test_the_pool_stands_for_the_domain_and_the_training_images_where_there_is_no_datalist(tmp_path, images):
    alone = training_domain(tmp_path / "datalist.json", images[:3], modality=MODALITY)
    assert alone.entries == images[:3]
    assert len(training_domain(images, images[:3], modality=MODALITY).entries) == len(images)


def test_entries_without_ids_are_told_apart_by_their_paths(images):
    torch.manual_seed(0)
    network = UNet(3, 2)
    bare = [{"image": entry["image"]} for entry in [*images, {"image": "/nowhere/gone.png"}]]
    found = TrainingDomain(bare, modality=MODALITY)(network)
    assert torch.equal(found["mean"], TrainingDomain(images, modality=MODALITY)(network)["mean"])


def test_images_that_became_unreadable_cost_the_reference_and_not_the_training(images, tmp_path):
    broken = [{**entry, "image": str(tmp_path / "gone.png")} for entry in images[FEWEST - 1 :]]
    network = UNet(3, 2, (2, 4, 4, 8))
    assert TrainingDomain([*images[: FEWEST - 1], *broken], modality=MODALITY)(network) == {}
