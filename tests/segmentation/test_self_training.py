"""The pool teaches as the teacher sees it: clean images, the mean over mirrorings, and nobody's label."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import Dataset
from PIL import Image

from bundle.data.datalist import Datalist
from bundle.data.modality import Augmentation, Modality
from bundle.data.transforms import preprocessing
from bundle.network import UNet
from bundle.run.record import file_fingerprint
from bundle.segmentation.self_training import LabelledAndTaught, TaughtImages, taught_images, training_loader
from bundle.weights import save_weights

SPOTS = Modality("spots", "", 3, "picture", ("rim", "core"), size=32, augmentation=Augmentation(flip=("x",)))


@pytest.fixture(scope="module")
def unet() -> UNet:
    torch.manual_seed(0)
    return UNet(3, 3, (2, 4, 4, 8)).eval()


@pytest.fixture(scope="module")
def teacher(unet, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("teacher") / "model.pt"
    save_weights(path, unet, {"modality": "spots", "size": 32})
    return path


@pytest.fixture
def datalist(tmp_path) -> Datalist:
    """Nine pictures in the pool, of which two are trained on and one is for validation."""
    rng = np.random.default_rng(0)
    entries = []
    for i in range(9):
        Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
        entries.append({"id": str(i), "image": f"{i}.png"})
    labelled = tuple({**entry, "label": entry["image"]} for entry in entries)
    sections = {"pool": tuple(entries), "training": labelled[:2], "validation": labelled[2:3]}
    return Datalist("spots", tmp_path, tmp_path, sections)


def taught(teacher: Path | None, datalist: Any, **changed: Any) -> TaughtImages | None:
    options: dict[str, Any] = {
        "modality": SPOTS,
        "device": torch.device("cpu"),
        "precision": "fp32",
    }
    return taught_images(teacher, datalist, **(options | changed))


def test_beliefs_are_the_mean_probability_of_an_image_and_its_mirrorings(unet, teacher, datalist):
    found = taught(teacher, datalist)
    assert found is not None and len(found) == 6
    load = preprocessing(SPOTS)
    for i, item in enumerate(found):
        image = load({"image": str(datalist.root / f"{i + 3}.png")})["image"].as_tensor()
        stored = image.mul(255).round().div(255)[None]
        with torch.no_grad():
            seen = [unet(stored).softmax(dim=1), unet(stored.flip(2)).softmax(dim=1).flip(2)]
        expected = 255 * sum(seen)[0, 1:] / 2
        assert torch.equal(item["image"], image.mul(255).round().to(torch.uint8))
        assert item["belief"].dtype == torch.uint8
        assert (item["belief"].float() - expected).abs().max() < 0.51


def test_without_a_teacher_nobody_is_taught(datalist):
    assert taught(None, datalist) is None


def test_of_a_large_pool_a_seeded_draw_is_taken_whatever_the_order(teacher, datalist):
    turned = dataclasses.replace(datalist, sections={**datalist.sections, "pool": datalist.sections["pool"][::-1]})
    first, again, other = (
        taught(teacher, where, most=3, seed=seed) for where, seed in ((datalist, 0), (turned, 0), (datalist, 1))
    )
    assert first is not None and again is not None and other is not None
    assert len(first) == 3 and torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)


def test_the_fingerprint_tells_the_teacher_and_the_images_it_looked_at(unet, teacher, datalist, tmp_path):
    save_weights(tmp_path / "other.pt", unet, {"modality": "spots", "size": 32, "seed": 1})
    smaller = dataclasses.replace(datalist, sections={**datalist.sections, "pool": datalist.sections["pool"][:-1]})
    found = [taught(teacher, datalist), taught(teacher, datalist), taught(tmp_path / "other.pt", datalist)]
    first, again, another, fewer = (each.fingerprint for each in [*found, taught(teacher, smaller)] if each)
    assert first == again and len({first, another, fewer}) == 3
    assert first.startswith(file_fingerprint(teacher))


def test_an_image_that_cannot_be_read_any_more_is_left_out_and_counted(teacher, datalist, caplog):
    (datalist.root / "5.png").write_bytes(b"cut")
    found = taught(teacher, datalist)
    assert found is not None and len(found) == 5
    (told,) = [record.getMessage() for record in caplog.records if "teach nothing" in record.getMessage()]
    assert told.startswith("1 images of the pool") and "no PNG" in told and "5.png" not in told


def test_a_true_label_of_the_pool_is_never_looked_at(teacher, datalist):
    revealed = tuple({**entry, "label": "absent.png"} for entry in datalist.sections["pool"])
    blind = taught(teacher, datalist)
    seeing = taught(teacher, dataclasses.replace(datalist, sections={**datalist.sections, "pool": revealed}))
    assert blind is not None and seeing is not None and torch.equal(blind.beliefs, seeing.beliefs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modality": dataclasses.replace(SPOTS, name="other")}, "other"),
        ({"modality": dataclasses.replace(SPOTS, size=48)}, "48"),
    ],
)
def test_a_teacher_of_another_kind_is_refused(teacher, datalist, change, message):
    with pytest.raises(ValueError, match=message):
        taught(teacher, datalist, **change)


def test_a_teacher_that_is_not_there_is_refused(datalist, tmp_path):
    with pytest.raises(ValueError, match=r"there is no file .*absent\.pt"):
        taught(tmp_path / "absent.pt", datalist)


def test_a_pool_in_which_all_is_labelled_is_refused(teacher, datalist):
    labelled = dataclasses.replace(datalist, sections={**datalist.sections, "pool": datalist.sections["pool"][:3]})
    picture = str(datalist.root / "4.png")
    for nothing in (labelled, [{"image": picture, "label": picture}]):
        with pytest.raises(ValueError, match="no image without a label to teach on"):
            taught(teacher, nothing)


def labelled_items(**more: Any) -> list[Mapping[str, Any]]:
    return [
        {
            "image": torch.full((3, 4, 4), i, dtype=torch.uint8),
            "label": torch.arange(16, dtype=torch.uint8).reshape(1, 4, 4) % 3,
            **more,
        }
        for i in range(2)
    ]


def test_a_label_becomes_a_belief_without_doubt():
    lesson = TaughtImages(torch.zeros(5, 3, 4, 4, dtype=torch.uint8), torch.zeros(5, 2, 4, 4, dtype=torch.uint8))
    both = LabelledAndTaught(labelled_items(), lesson)
    assert len(both) == 7 and torch.equal(both[4]["image"], lesson.images[2])
    label = labelled_items()[1]["label"][0]
    for x in range(4):
        for y in range(4):
            wanted = [255 * int(int(label[x, y]) == foreground) for foreground in (1, 2)]
            assert both[1]["belief"][:, x, y].tolist() == wanted


def test_half_of_every_batch_is_taught():
    lesson = TaughtImages(torch.full((5, 3, 4, 4), 9, dtype=torch.uint8), torch.zeros(5, 2, 4, 4, dtype=torch.uint8))
    batch = next(iter(training_loader(Dataset(labelled_items()), lesson, batch_size=6)))
    assert batch["image"][:, 0, 0, 0].tolist()[3:] == [9, 9, 9]
    assert set(batch["image"][:3, 0, 0, 0].tolist()) == {0, 1}
    assert set(batch) == {"image", "belief"}


def test_pseudo_labels_beside_a_teacher_are_refused():
    lesson = TaughtImages(torch.zeros(5, 3, 4, 4, dtype=torch.uint8), torch.zeros(5, 2, 4, 4, dtype=torch.uint8))
    with pytest.raises(ValueError, match="give one of them"):
        training_loader(Dataset(labelled_items(weight=1.0)), lesson, batch_size=6)


def test_other_images_of_a_validation_patient_teach_nothing(teacher, datalist):
    def grouped(entry: dict[str, str]) -> dict[str, str]:
        return {**entry, "group": "one patient"} if entry["id"] in "28" else entry

    sections = {name: tuple(map(grouped, entries)) for name, entries in datalist.sections.items()}
    found = taught(teacher, dataclasses.replace(datalist, sections=sections))
    assert found is not None and len(found) == 5
