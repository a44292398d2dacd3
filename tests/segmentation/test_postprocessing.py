"""From logits on the canvas to a mask with the axes that a writer of the image's kind expects."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch

from bundle.data.transforms import preprocessing
from bundle.segmentation.postprocessing import ImageShaped, LikeliestClassd, postprocessing


@pytest.fixture
def picture(tmp_path):
    from PIL import Image

    pixels = np.zeros((30, 50, 3), dtype=np.uint8)
    pixels[5:20, 10:35] = 255  # rows 5 to 19, columns 10 to 34
    Image.fromarray(pixels).save(tmp_path / "image.png")
    return tmp_path / "image.png"


def undone(path, logits_of, size: int = 64) -> MetaTensor:
    """What postprocessing makes of the logits that ``logits_of`` gives for the canvas, (C, W, H) to (K, W, H)."""
    forward = preprocessing("dermoscopy", size=size)
    batch = next(iter(DataLoader(Dataset([{"id": "a", "image": str(path)}], forward), batch_size=1)))
    batch["pred"] = MetaTensor(logits_of(batch["image"][0].as_tensor())[None], meta=batch["image"].meta)
    batch["pred"].applied_operations = batch["image"].applied_operations
    batch["pred"].is_batch = True
    return postprocessing()(decollate_batch(batch)[0])["pred"]


def test_a_perfect_prediction_comes_back_in_place_and_at_its_size(picture):
    mask = undone(picture, lambda image: torch.stack([torch.full_like(image[0], 0.5), image[0]]) * 10)
    assert mask.shape == (50, 30) and mask.dtype == torch.uint8
    wanted = np.zeros((50, 30), dtype=np.uint8)
    wanted[10:35, 5:20] = 1
    assert (mask.numpy() != wanted).mean() < 0.03, "the border alone may move by a pixel"


def test_padding_never_becomes_foreground(picture):
    def foreground_outside(image: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(2, *image.shape[1:])
        logits[1] = -10
        logits[1, :, :12] = logits[1, :, -12:] = 10  # above and below the picture, which is 64 x 38 of 64 x 64
        return logits

    assert undone(picture, foreground_outside).sum() == 0


def test_several_labels_take_the_likeliest(picture):
    mask = undone(
        picture, lambda image: torch.stack([torch.zeros_like(image[0]), -image[0] - 1, image[0] + 1, image[0]])
    )
    assert set(mask.unique().tolist()) == {2}


@pytest.mark.parametrize(("spatial", "shape"), [((9, 7), (9, 7)), ((9, 7, 1), (1, 9, 7, 1))])
def test_the_axes_are_those_of_the_file(spatial, shape):
    image = MetaTensor(torch.zeros(1, 16, 16), meta={"spatial_shape": np.asarray(spatial)})
    mask = ImageShaped("pred")({"image": image, "pred": torch.ones(1, 9, 7)})["pred"]
    assert mask.shape == shape and mask.dtype == torch.uint8 and mask.min() == 1


def test_a_nifti_plane_comes_back_on_its_grid(tmp_path):
    nibabel.save(
        nibabel.Nifti1Image(np.random.default_rng(0).random((40, 24, 1)).astype(np.float32), np.eye(4)),
        tmp_path / "a.nii.gz",
    )
    forward = preprocessing("chest_xray", size=32)
    item = forward({"id": "a", "image": str(tmp_path / "a.nii.gz")})
    item["pred"] = MetaTensor(torch.ones(2, 32, 32), meta=item["image"].meta)
    item["pred"].applied_operations = item["image"].applied_operations
    assert postprocessing()(item)["pred"].numel() == 40 * 24


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_the_likeliest_class_is_the_argmax_and_of_equal_ones_the_first(classes):
    logits = torch.randint(0, 3, (classes, 9, 7), generator=torch.Generator().manual_seed(classes)).float()
    found = LikeliestClassd("pred")({"pred": logits})["pred"]
    assert found.shape == (1, 9, 7) and found.dtype == torch.uint8
    for x in range(9):
        for y in range(7):
            values = logits[:, x, y].tolist()
            assert int(found[0, x, y]) == values.index(max(values))
