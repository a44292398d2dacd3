"""Masks: whatever way they are stored, the class index of each pixel comes out, or an error that tells the rule."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from PIL import Image

from bundle.data.masks import read_mask
from bundle.data.pictures import UnreadableImage

SHAPE = np.random.default_rng(0).random((6, 9)) > 0.5
CLASSES = np.random.default_rng(1).integers(0, 4, (6, 9)).astype(np.uint8)
LABELS = ("lung", "heart", "clavicle")


@pytest.mark.parametrize(
    "stored",
    [
        Image.fromarray(SHAPE),
        SHAPE.astype(np.uint8),
        SHAPE.astype(np.uint8) * 255,
        SHAPE.astype(np.uint16) * 65535,
        np.repeat((SHAPE * 255).astype(np.uint8)[..., None], 3, axis=-1),
        np.dstack([SHAPE * 200, SHAPE * 0, SHAPE * 0, np.full_like(SHAPE, 255, dtype=np.uint8)]).astype(np.uint8),
        Image.fromarray(SHAPE.astype(np.uint8), mode="P"),
        Image.merge("LA", [Image.fromarray((SHAPE * 9).astype(np.uint8)), Image.new("L", (9, 6), 255)]),
    ],
    ids=["1-bit", "0/1", "0/255", "16-bit", "grey RGB", "red RGBA", "palette", "grey with alpha"],
)
def test_with_one_label_any_value_but_zero_is_foreground(write_picture, stored):
    if isinstance(stored, Image.Image) and stored.mode == "P":
        stored.putpalette([0, 0, 0, 255, 255, 255])
    mask = read_mask(write_picture(stored), labels=["lesion"])
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, SHAPE)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_with_several_labels_the_values_are_class_indices(write_picture, suffix):
    np.testing.assert_array_equal(read_mask(write_picture(CLASSES, "mask" + suffix), labels=LABELS), CLASSES)


def test_a_value_without_a_label_is_named_with_the_rule(write_picture):
    with pytest.raises(ValueError, match=r"value 255; .* 0 background, 1 lung, 2 heart, 3 clavicle"):
        read_mask(write_picture(SHAPE.astype(np.uint8) * 255), labels=LABELS)


def test_colour_with_several_labels_is_refused(write_picture):
    with pytest.raises(ValueError, match="in colour"):
        read_mask(write_picture(np.dstack([CLASSES, CLASSES, CLASSES * 0])), labels=LABELS)


def test_a_lossy_mask_is_refused(write_picture):
    with pytest.raises(ValueError, match="PNG"):
        read_mask(write_picture(SHAPE.astype(np.uint8) * 255, "mask.jpg"), labels=["lesion"])


@pytest.mark.parametrize("deep", [False, True])
def test_nifti_is_turned_to_rows_first(tmp_path, deep):
    stored = CLASSES.T[..., None] if deep else CLASSES.T
    path = tmp_path / "mask.nii.gz"
    nibabel.save(nibabel.Nifti1Image(stored, np.eye(4)), path)
    np.testing.assert_array_equal(read_mask(path, labels=LABELS), CLASSES)


def test_a_volume_is_refused(tmp_path):
    path = tmp_path / "mask.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 2), dtype=np.uint8), np.eye(4)), path)
    with pytest.raises(UnreadableImage, match="single plane"):
        read_mask(path, labels=LABELS)


@pytest.mark.real
@pytest.mark.parametrize("name", ["dermoscopy", "chest_xray"])
def test_real_masks_are_0_and_1(real_data, name):
    for path in sorted((real_data / name / "masks").glob("*.png"))[::200]:
        assert set(np.unique(read_mask(path, labels=["one"]))) == {0, 1}


GREY = np.random.default_rng(2).integers(0, 256, (6, 9)).astype(np.uint8)
CLEAR = Image.merge("RGBA", [Image.new("L", (9, 6), 255)] * 3 + [Image.fromarray((SHAPE * 255).astype(np.uint8))])


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        (GREY, "it was scaled, blurred or is a probability"),
        (SHAPE.astype(np.uint8) + 1, "holds 2 values from 1 to 2, and no background"),
        (CLEAR, "transparent in part"),
        (CLEAR.convert("LA"), "transparent in part"),
    ],
    ids=["blurred", "no background", "RGBA", "grey with alpha"],
)
def test_what_would_be_foreground_all_over_is_refused(write_picture, stored, told):
    with pytest.raises(ValueError, match=told):
        read_mask(write_picture(stored), labels=["lesion"])


def test_a_mask_that_marks_all_or_nothing_or_a_few_structures_is_one(write_picture):
    for values in (np.zeros((6, 9)), np.full((6, 9), 255), CLASSES * 60):
        mask = read_mask(write_picture(values.astype(np.uint8)), labels=["lesion"])
        np.testing.assert_array_equal(mask, values > 0)


def test_a_palette_that_begins_with_white_is_read_by_its_colours(write_picture):
    stored = Image.fromarray((~SHAPE).astype(np.uint8), mode="P")
    stored.putpalette([255, 255, 255, 0, 0, 0])
    np.testing.assert_array_equal(read_mask(write_picture(stored), labels=["lesion"]), SHAPE)


@pytest.mark.parametrize("name", ["mask.png", "mask.jfif"])
def test_a_jpeg_by_another_name_is_refused(tmp_path, name):
    Image.fromarray(SHAPE.astype(np.uint8) * 255).save(tmp_path / name, format="JPEG")
    with pytest.raises(ValueError, match="JPEG blurs"):
        read_mask(tmp_path / name, labels=["lesion"])


def test_the_note_on_orientation_is_followed_as_for_images(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.fromarray(SHAPE.astype(np.uint8) * 255).save(tmp_path / "mask.png", exif=exif)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", labels=["lesion"]), np.rot90(SHAPE, -1))
