"""The drawn data set: reproducible, readable, varied, and its masks are where the lesion or the lungs are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.uid import UID, RLELossless
from scipy import ndimage

from bundle.commands import run_verb
from bundle.data.demo import MODALITIES, make_demo
from bundle.data.demo.computed_radiograph import derived_uid, write_computed_radiograph
from bundle.data.demo.dermoscopy import KINDS, draw_dermoscopy
from bundle.data.demo.folder import BLOCK_IMAGES, BLOCK_PATIENTS, patient_of
from bundle.data.demo.noise import band_noise, fractal_noise
from bundle.data.demo.radiograph import draw_chest, draw_radiograph
from bundle.data.demo.strokes import Stroke, coverage
from bundle.data.dicom import read_dicom
from bundle.data.pictures import LUMINANCE
from bundle.run.atomic import OutputExists
from bundle.run.seeds import numpy_stream

COUNT = 48
SIZE = 96  # the anatomy scales, and small pictures are drawn in a few milliseconds


@pytest.fixture(scope="module", params=MODALITIES)
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small drawn data set of each modality."""
    return make_demo(tmp_path_factory.mktemp("demo") / "set", modality=request.param, count=COUNT, size=SIZE)


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The DICOM files of a drawn set of chest radiographs."""
    folder = make_demo(tmp_path_factory.mktemp("chest") / "set", modality="chest_xray", count=COUNT, size=SIZE)
    return files_of(folder / "images")


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def contents(folder: Path) -> dict[str, bytes]:
    """Path below the folder to bytes, of pictures and masks."""
    return {str(p.relative_to(folder)): p.read_bytes() for part in ("images", "masks") for p in files_of(folder / part)}


def luminance(path: Path) -> np.ndarray:
    """(H, W) in [0, 1] as a viewer shows it."""
    if path.suffix == ".dcm":
        return read_dicom(path).pixels
    return np.asarray(Image.open(path), dtype=np.float32) @ LUMINANCE / 255


def mask_of(image: Path, folder: Path) -> np.ndarray:
    return np.asarray(Image.open(folder / "masks" / image.relative_to(folder / "images").with_suffix(".png")))


def test_every_picture_has_a_mask_of_its_size_that_is_neither_empty_nor_full(demo: Path) -> None:
    images = files_of(demo / "images")
    assert len(images) == COUNT == len(files_of(demo / "masks"))
    for image in images:
        mask = mask_of(image, demo)
        assert mask.shape == luminance(image).shape
        assert mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 255}


def test_the_sizes_and_aspects_vary(demo: Path) -> None:
    shapes = {luminance(image).shape for image in files_of(demo / "images")}
    assert len(shapes) >= 4
    assert len({rows >= columns for rows, columns in shapes}) == 2


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_same_seed_draws_the_same_bytes_and_another_seed_does_not(tmp_path: Path, modality: str) -> None:
    first, again = (make_demo(tmp_path / name, modality=modality, count=12, size=64, seed=5) for name in ("a", "b"))
    other = make_demo(tmp_path / "c", modality=modality, count=12, size=64, seed=6)
    assert contents(first) == contents(again)
    assert not set(contents(first).values()) & set(contents(other).values())


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_larger_set_holds_the_smaller_one(tmp_path: Path, modality: str) -> None:
    small = contents(make_demo(tmp_path / "small", modality=modality, count=5, size=64))
    large = contents(make_demo(tmp_path / "large", modality=modality, count=9, size=64))
    assert small.items() <= large.items() and len(large) == 18


def test_no_two_pictures_are_the_same(demo: Path) -> None:
    assert len({path.read_bytes() for path in files_of(demo / "images")}) == COUNT


def test_the_mask_is_where_the_structure_is(demo: Path) -> None:
    """Inside is not as bright as outside, and darker as a rule."""
    seen, darker = 0, 0
    for image in files_of(demo / "images"):
        picture, inside = luminance(image), mask_of(image, demo) > 0
        difference = float(picture[inside].mean() - picture[~inside & (picture > 0.02)].mean())
        seen += abs(difference) > 0.02
        darker += difference < 0
    assert seen >= 0.85 * COUNT
    assert darker >= 0.75 * COUNT  # pigment and air are dark; a few lesions are lighter than the skin


def test_the_border_of_the_mask_is_an_edge_of_the_picture(demo: Path) -> None:
    """The step from a band inside to a band outside is larger at the mask's border than at the border moved aside."""

    def step(picture: np.ndarray, mask: np.ndarray) -> float:
        inner = mask & ~ndimage.binary_erosion(mask, iterations=4, border_value=1)
        outer = ndimage.binary_dilation(mask, iterations=4) & ~mask
        return abs(float(picture[inner].mean() - picture[outer].mean()))

    better = 0
    for image in files_of(demo / "images"):
        picture, mask = luminance(image), mask_of(image, demo) > 0
        moved = ndimage.shift(mask.astype(np.uint8), (SIZE // 10, SIZE // 10), order=0) > 0
        better += step(picture, mask) > step(picture, moved)
    assert better >= 0.85 * COUNT


def test_skin_is_of_many_tones() -> None:
    tones = []
    for index in range(80):
        picture, mask = draw_dermoscopy(numpy_stream(2, index), size=64)
        tones.append(float(np.median((picture @ LUMINANCE)[~mask])) / 255 if (~mask).any() else np.nan)
    low, high = np.nanpercentile(tones, [5, 95])
    assert low < 0.40 and high > 0.65


def test_lesions_range_from_tiny_to_filling_the_picture() -> None:
    parts = [draw_dermoscopy(numpy_stream(3, index), size=64)[1].mean() for index in range(120)]
    assert min(parts) < 0.02 and max(parts) > 0.6
    assert 0.08 < np.median(parts) < 0.35  # ISIC 2018 has lesions of about a fifth of the picture


def test_a_rare_kind_is_rare_and_there() -> None:
    shares = np.array([kind.share for kind in KINDS.values()])
    assert shares.sum() == pytest.approx(1.0)
    assert (shares < 0.06).sum() >= 3 and shares.max() > 0.25
    lighter = 0
    for index in range(150):
        picture, mask = draw_dermoscopy(numpy_stream(4, index), size=64)
        grey = picture @ LUMINANCE
        lighter += bool((~mask).any()) and np.median(grey[mask]) > np.median(grey[~mask])
    assert 1 <= lighter <= 30


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**62), size=st.integers(64, 160))
def test_any_stream_and_size_draws_a_picture_with_both_classes(seed: int, size: int) -> None:
    for draw, channels in ((draw_dermoscopy, (3,)), (draw_radiograph, ())):
        picture, mask = draw(np.random.default_rng(seed), size=size)
        assert picture.shape == (*mask.shape, *channels)
        assert mask.any() and not mask.all()
        assert np.isfinite(picture).all() and picture.std() > 0


def test_both_lungs_are_in_the_mask() -> None:
    for index in range(30):
        _, mask = draw_radiograph(numpy_stream(5, index), size=SIZE)
        left, right = np.array_split(mask, 2, axis=1)
        assert 0.05 < left.mean() < 0.8 and 0.05 < right.mean() < 0.8


def test_bone_is_brighter_than_lung_and_air_is_dark(radiographs: list[Path]) -> None:
    """The spine, the middle column between the lungs, is brighter than the lungs in either interpretation."""
    for image in radiographs:
        picture, mask = read_dicom(image).pixels, mask_of(image, image.parents[2]) > 0
        rows = np.flatnonzero(mask.any(axis=1))
        middle = slice(rows[0] + len(rows) // 2, rows[-1])
        columns = np.flatnonzero(mask.any(axis=0))
        centre = (columns[0] + columns[-1]) // 2
        assert picture[middle, centre - 2 : centre + 3].mean() > picture[mask].mean()


def test_dicom_files_are_the_varieties_of_a_hospital(radiographs: list[Path]) -> None:
    headers = [pydicom.dcmread(path) for path in radiographs]
    assert {h.PhotometricInterpretation for h in headers} == {"MONOCHROME1", "MONOCHROME2"}
    assert {"WindowCenter" in h for h in headers} == {True, False}
    assert 0 < sum(h.file_meta.TransferSyntaxUID == RLELossless for h in headers) < COUNT // 3
    for header in headers:
        assert (header.BitsAllocated, header.BitsStored, header.HighBit) == (16, 12, 11)
        assert (header.Modality, header.BodyPartExamined, header.ViewPosition) == ("CR", "CHEST", "PA")
        assert header.pixel_array.max() < 4096 and np.ptp(header.pixel_array) > 1000
        assert 0.5 < float(header.PixelSpacing[0]) < 10


def test_every_uid_is_valid_and_its_own(radiographs: list[Path]) -> None:
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in radiographs]
    uids = [uid for h in headers for uid in (h.SOPInstanceUID, h.SeriesInstanceUID, h.StudyInstanceUID)]
    assert len(set(uids)) == 3 * COUNT
    assert all(UID(uid).is_valid for uid in uids)
    assert all(h.SOPInstanceUID == h.file_meta.MediaStorageSOPInstanceUID for h in headers)


def test_compression_loses_nothing_and_keeps_the_uid(tmp_path: Path) -> None:
    picture = numpy_stream(0, "ramp").random((40, 48), dtype=np.float32)
    syntaxes = Counter()
    for index in range(40):
        write_computed_radiograph(
            tmp_path / "x.dcm", picture, numpy_stream(0, "cr", index), name=str(index), patient="0"
        )
        dataset = pydicom.dcmread(tmp_path / "x.dcm")
        syntaxes[dataset.file_meta.TransferSyntaxUID] += 1
        assert dataset.SOPInstanceUID == derived_uid("image", str(index))
        grey = dataset.pixel_array.astype(float) * (-1 if dataset.PhotometricInterpretation == "MONOCHROME1" else 1)
        assert np.corrcoef(grey.ravel(), picture.ravel())[0, 1] > 0.99999
    assert syntaxes[RLELossless] > 0 and len(syntaxes) == 2


def test_a_third_of_the_patients_have_two_pictures(radiographs: list[Path]) -> None:
    pictures = Counter(str(pydicom.dcmread(path, stop_before_pixels=True).PatientID) for path in radiographs)
    assert set(pictures.values()) == {1, 2}
    assert sum(n == 2 for n in pictures.values()) * 3 == len(pictures)
    folders = {path.parent.name for path in radiographs}
    assert len(folders) == len(pictures)


@given(seed=st.integers(0, 2**31), block=st.integers(0, 1000))
def test_every_block_of_four_pictures_is_of_three_patients(seed: int, block: int) -> None:
    patients = [patient_of(BLOCK_IMAGES * block + i, seed=seed) for i in range(BLOCK_IMAGES)]
    assert sorted(set(patients)) == [BLOCK_PATIENTS * block + i for i in range(BLOCK_PATIENTS)]
    assert patients == sorted(patients)


def test_two_pictures_of_a_patient_are_more_alike_than_of_two() -> None:
    """The same anatomy from other streams gives masks that overlap more than those of other anatomies."""

    def overlap(first: np.ndarray, second: np.ndarray) -> float:
        a, b = (np.asarray(Image.fromarray(m).resize((64, 64))) for m in (first, second))
        return 2 * (a & b).sum() / (a.sum() + b.sum())

    chests = [draw_chest(numpy_stream(6, "patient", i)) for i in range(24)]
    once, twice = (
        [draw_radiograph(numpy_stream(6, visit, i), chest=c, size=SIZE)[1] for i, c in enumerate(chests)]
        for visit in ("first", "second")
    )
    same = np.mean([overlap(a, b) for a, b in zip(once, twice, strict=True)])
    other = np.mean([overlap(a, b) for a, b in zip(once, twice[1:] + twice[:1], strict=True)])
    assert same > other


def test_noise_is_standardised_and_of_the_grain_asked_for() -> None:
    for noise in (
        fractal_noise(np.random.default_rng(0), (60, 90), slope=1.5),
        band_noise(np.random.default_rng(0), (60, 90), wavelength=8),
    ):
        assert noise.shape == (60, 90) and noise.dtype == np.float32
        assert abs(noise.mean()) < 1e-3 and noise.std() == pytest.approx(1, abs=1e-3)
    coarse, fine = (band_noise(np.random.default_rng(1), (128, 128), wavelength=w) for w in (32, 6))
    assert np.abs(np.diff(coarse, axis=1)).mean() < 0.4 * np.abs(np.diff(fine, axis=1)).mean()


def test_a_stroke_covers_the_area_it_should() -> None:
    covered = coverage((40, 60), [Stroke(np.array([[10.0, 20.0], [50.0, 20.0]]), width=4)])
    assert covered.sum() == pytest.approx(160, rel=0.1)
    assert covered[20, 30] == 1 and covered[5, 30] == 0


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [({"modality": "ultrasound"}, "dermoscopy or chest_xray"), ({"count": 0}, "at least 1"), ({"size": 10}, "64")],
)
def test_a_wrong_argument_names_the_rule_and_leaves_nothing(tmp_path: Path, wrong: dict, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        make_demo(tmp_path / "demo", **wrong)
    assert not list(tmp_path.iterdir())


def test_a_failure_on_the_way_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr("bundle.data.demo.folder._save_mask", fail)
    with pytest.raises(RuntimeError):
        make_demo(tmp_path / "demo", count=2, size=64)
    assert not list(tmp_path.iterdir())


def test_only_a_drawn_set_is_overwritten(tmp_path: Path) -> None:
    demo = make_demo(tmp_path / "demo", count=1, size=64)
    with pytest.raises(OutputExists):
        make_demo(demo, count=2, size=64)
    make_demo(demo, count=2, size=64, overwrite=True)
    assert len(files_of(demo / "images")) == 2

    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "photo.jpg").write_bytes(b"x")
    with pytest.raises(ValueError, match="not replaced"):
        make_demo(precious, count=1, size=64, overwrite=True)
    assert (precious / "photo.jpg").read_bytes() == b"x"


def test_the_command_prints_the_folder_last_and_refuses_to_overwrite(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--out", str(tmp_path / "demo"), "--count", "2", "--size", "64", "--modality", "chest_xray"]
    assert run_verb("make_demo", options) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "demo")
    assert run_verb("make_demo", options) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run_verb("make_demo", [*options, "--overwrite"]) == 0
