"""One preprocessing for every stage: from a file to the canvas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, LoadImaged
from PIL import Image

from bundle.data.canvas import to_canvas
from bundle.data.pictures import UnreadableImage
from bundle.data.reader import read_image
from bundle.data.transforms import Compactd, preprocessing
from bundle.segmentation.postprocessing import OffCanvasd


@pytest.fixture
def entry(write_picture):
    rng = np.random.default_rng(0)
    image = write_picture(rng.integers(0, 256, (20, 36, 3), dtype=np.uint8), "image.png")
    mask = write_picture((rng.random((20, 36)) > 0.5).astype(np.uint8) * 255, "mask.png")
    return {"id": "image", "image": str(image), "label": str(mask), "group": "patient-1"}


def test_is_a_flat_compose_that_starts_with_loading():
    steps = preprocessing("dermoscopy", label="canvas", cached=True)
    assert isinstance(steps, Compose)
    assert isinstance(steps.transforms[0], LoadImaged)
    assert not any(isinstance(step, Compose) for step in steps.transforms)


def test_the_image_is_that_of_the_reports_on_the_canvas(entry):
    item = preprocessing("dermoscopy", size=32)({k: v for k, v in entry.items() if k != "label"})
    pixels = torch.from_numpy(read_image(entry["image"], "dermoscopy").transpose(2, 1, 0).copy())
    assert isinstance(item["image"], MetaTensor) and item["image"].dtype == torch.float32
    torch.testing.assert_close(item["image"].as_tensor(), to_canvas(pixels, 32))


def test_labels_are_left_alone_brought_along_or_kept_at_their_size(entry):
    assert preprocessing("dermoscopy", size=32)(entry)["label"] == entry["label"]
    canvas = preprocessing("dermoscopy", size=32, label="canvas")(entry)
    native = preprocessing("dermoscopy", size=32, label="native")(entry)
    assert canvas["label"].shape == (1, 32, 32) and native["label"].shape == (1, 36, 20)
    assert canvas["image"].shape == native["image"].shape == (3, 32, 32)
    assert set(np.unique(canvas["label"])) == set(np.unique(native["label"])) == {0, 1}


def test_the_cached_form_is_uint8_without_metadata_and_within_half_a_level(entry):
    compact = preprocessing("dermoscopy", size=32, label="canvas", cached=True)(entry | {"index": 4})
    full = preprocessing("dermoscopy", size=32, label="canvas")(entry)
    assert set(compact) == {"id", "index", "image", "label"}
    for key in ("image", "label"):
        assert type(compact[key]) is torch.Tensor and compact[key].dtype == torch.uint8
    torch.testing.assert_close(compact["image"].float() / 255, full["image"].as_tensor(), atol=0.5 / 255 + 1e-6, rtol=0)
    assert torch.equal(compact["label"], full["label"].as_tensor())


def test_compact_values_outside_the_range_are_clipped_not_wrapped():
    item = Compactd(["image"])({"image": torch.tensor([[[-0.1, 0.0, 0.5, 1.0, 1.1]]])})
    assert item["image"].flatten().tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize(("width", "height"), [(403, 301), (301, 403), (1001, 150)])
def test_a_large_jpeg_is_the_same_on_the_canvas_and_goes_back_to_its_own_size(tmp_path, width, height):
    coarse = np.random.default_rng(0).integers(40, 216, (5, 5, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(tmp_path / "large.jpg", quality=95)
    item = preprocessing("dermoscopy", size=32)({"image": str(tmp_path / "large.jpg")})
    pixels = torch.from_numpy(read_image(tmp_path / "large.jpg", "dermoscopy").transpose(2, 1, 0).copy())
    # The last of the reduced pixels is wider than what is left of the image, so the others shift by a part of a pixel.
    assert (item["image"].as_tensor() - to_canvas(pixels, 32)).abs().max() < 8 / 255
    assert list(item["image"].meta["spatial_shape"]) == [width, height]
    back = OffCanvasd("pred")({"image": item["image"], "pred": torch.zeros(2, 32, 32)})
    assert back["pred"].shape == (2, width, height)


@pytest.mark.parametrize("label", ["canvas", "native"])
def test_a_label_that_fits_its_image_no_longer_is_refused_by_its_name(entry, label):
    turned = np.asarray(Image.open(entry["label"])).T
    Image.fromarray(turned).save(entry["label"])
    with pytest.raises(RuntimeError) as caught:
        preprocessing("dermoscopy", size=32, label=label)(entry)
    cause = caught.value.__cause__
    assert isinstance(cause, UnreadableImage) and str(cause.path) == entry["label"]
    assert "20 x 36 pixels for an image of 36 x 20" in cause.reason
