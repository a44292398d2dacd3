"""One way in: what MONAI loads and what the reports show are the same values, x first for MONAI."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import LoadImage, LoadImaged

from bundle.data.modality import Modality, load_modality
from bundle.data.pictures import UnreadableImage
from bundle.data.reader import ClinicalReader, read_image

COLOUR = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
RAMP = np.tile(np.arange(9, dtype=np.uint16) * 400, (6, 1))
FULL = {"WindowCenter": 2048, "WindowWidth": 4096}


def modality(reader: str, channels: int, labels: tuple[str, ...] = ("one",)) -> Modality:
    return Modality(name="own", description="", channels=channels, reader=reader, labels=labels)


def test_a_picture_comes_as_rgb_between_0_and_1(write_picture):
    image = read_image(write_picture(COLOUR), "dermoscopy")
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, COLOUR / 255, atol=1e-7)


def test_a_picture_modality_of_one_channel_gets_luminance(write_picture):
    image = read_image(write_picture(COLOUR), modality("picture", 1))
    assert image.shape == (6, 9, 1)
    np.testing.assert_allclose(image[..., 0], COLOUR @ [0.299, 0.587, 0.114] / 255, atol=1e-6)


def test_a_radiograph_modality_reads_dicom_pictures_and_nifti_alike(write_dicom, write_picture, tmp_path):
    as_dicom = read_image(write_dicom(RAMP, **FULL), "chest_xray")
    as_picture = read_image(write_picture((RAMP * 16).astype(np.uint16)), "chest_xray")
    nibabel.save(nibabel.Nifti1Image(RAMP.T[..., None].astype(np.int16), np.eye(4)), tmp_path / "image.nii.gz")
    as_nifti = read_image(tmp_path / "image.nii.gz", "chest_xray")
    assert as_dicom.shape == as_picture.shape == as_nifti.shape == (6, 9, 1)
    np.testing.assert_allclose(as_dicom, as_picture, atol=1e-3)
    np.testing.assert_allclose(as_nifti[0, :, 0], np.linspace(0, 1, 9), atol=0.01)


def test_a_radiograph_modality_of_three_channels_repeats_the_grey(write_dicom):
    image = read_image(write_dicom(RAMP, **FULL), modality("radiograph", 3))
    assert image.shape == (6, 9, 3)
    np.testing.assert_array_equal(image[..., 0], image[..., 2])


def test_a_series_folder_with_one_file_is_that_file(write_dicom):
    path = write_dicom(RAMP, name="series/image", **FULL)
    np.testing.assert_array_equal(read_image(path.parent, "chest_xray"), read_image(path, "chest_xray"))
    write_dicom(RAMP, name="series/other")
    with pytest.raises(UnreadableImage, match="this holds 2"):
        read_image(path.parent, "chest_xray")


def test_monai_gets_the_same_values_channel_and_x_first(write_picture):
    path = write_picture(COLOUR)
    loaded = LoadImaged(keys="image", reader=ClinicalReader(modality="dermoscopy"), ensure_channel_first=True)(
        {"image": str(path)}
    )["image"]
    assert isinstance(loaded, MetaTensor)
    np.testing.assert_array_equal(loaded.numpy(), read_image(path, "dermoscopy").transpose(2, 1, 0))
    np.testing.assert_array_equal(loaded.affine.numpy(), np.eye(4))
    assert list(loaded.meta["spatial_shape"]) == [9, 6]


def test_image_and_mask_lie_on_each_other(write_picture):
    spot = np.zeros((6, 9), dtype=np.uint8)
    spot[1, 7] = 255
    image = write_picture(np.repeat(spot[..., None], 3, axis=-1), "image.png")
    mask = write_picture(spot, "mask.png")
    reader, labels = ClinicalReader("dermoscopy"), ClinicalReader("dermoscopy", mask=True)
    x = LoadImage(reader=reader, ensure_channel_first=True)(image)
    y = LoadImage(reader=labels, ensure_channel_first=True, dtype=np.uint8)(mask)
    assert y.shape == (1, 9, 6)
    assert y.numpy().dtype == np.uint8
    np.testing.assert_array_equal(x.numpy()[:1], y.numpy())


def test_spacing_of_dicom_is_in_the_affine(write_dicom):
    path = write_dicom(RAMP, PixelSpacing=[0.2, 0.1], **FULL)
    loaded = LoadImage(reader=ClinicalReader("chest_xray"), ensure_channel_first=True)(path)
    np.testing.assert_allclose(loaded.pixdim.numpy()[:2], [0.1, 0.2])  # x is along a row: between columns


def test_affine_of_nifti_is_kept(tmp_path):
    affine = np.diag([-0.3, -0.4, 1, 1]).astype(np.float64)
    nibabel.save(nibabel.Nifti1Image(RAMP.T[..., None].astype(np.int16), affine), tmp_path / "image.nii.gz")
    loaded = LoadImage(reader=ClinicalReader("chest_xray"), ensure_channel_first=True)(tmp_path / "image.nii.gz")
    assert loaded.shape == (1, 9, 6)
    np.testing.assert_allclose(loaded.affine.numpy(), affine, atol=1e-6)


@pytest.mark.parametrize("reader", ["bundle.data.reader.ClinicalReader", "$ClinicalReader"])
def test_a_config_can_name_the_reader(write_picture, reader):
    config = {
        "imports": ["$from bundle.data.reader import ClinicalReader"],
        "load": {
            "_target_": "LoadImaged",
            "keys": "image",
            "reader": reader,
            "modality": "dermoscopy",
            "ensure_channel_first": True,
        },
    }
    load = ConfigParser(config).get_parsed_content("load")
    assert load({"image": write_picture(COLOUR)})["image"].shape == (3, 9, 6)


def test_a_refused_file_never_reaches_another_reader(write_dicom):
    """LoadImage tries all its readers in turn; one of them would read this without its window."""
    path = write_dicom(RAMP, Modality="SEG")
    with pytest.raises(UnreadableImage, match="another modality: SEG"):
        LoadImage(reader=ClinicalReader("chest_xray"))(path)


def test_several_files_do_not_make_an_image(write_picture):
    paths = [write_picture(COLOUR, "a.png"), write_picture(COLOUR, "b.png")]
    with pytest.raises(ValueError, match="one file makes one image"):
        ClinicalReader("dermoscopy").read(paths)


@pytest.mark.real
@pytest.mark.parametrize("name", ["dermoscopy", "chest_xray"])
def test_real_images_are_in_range_with_the_channels_of_their_modality(real_data, name):
    for path in sorted((real_data / name / "images").iterdir())[::300]:
        image = read_image(path, name)
        assert image.shape == (256, 256, load_modality(name).channels)
        assert 0 <= image.min() < image.max() <= 1
