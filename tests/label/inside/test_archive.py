"""What the server takes for images and labels of an archive, and how often it asks for them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from bundle.data.demo import make_demo
from bundle.data.modality import load_modality
from bundle.label import archived_images
from bundle.label.archive import Archive
from bundle.label.dicomweb import ArchiveClient, Series, Unreachable
from bundle.run.temporary import TEMPORARY
from bundle.segmentation.dicom_seg import segmentation_object
from bundle.segmentation.dicom_source import save

from .small_archive import SmallArchive

CHEST = load_modality("chest_xray")
SIZE = 64


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> list[Path]:
    """Two radiographs of one series, as a technician takes a second exposure."""
    folder = make_demo(tmp_path_factory.mktemp("drawn") / "demo", modality="chest_xray", count=2, size=SIZE)
    paths = sorted((folder / "images").rglob("*.dcm"))
    first = pydicom.dcmread(paths[0])
    second = pydicom.dcmread(paths[1])
    second.StudyInstanceUID, second.SeriesInstanceUID = first.StudyInstanceUID, first.SeriesInstanceUID
    second.Modality = first.Modality
    save(second, paths[1])
    return paths


@pytest.fixture
def objects(drawn) -> list[Dataset]:
    return [pydicom.dcmread(path) for path in drawn]


@pytest.fixture
def pacs() -> Iterator[SmallArchive]:
    with SmallArchive() as archive:
        yield archive


@pytest.fixture
def opened(pacs, tmp_path) -> Callable[[], Archive]:
    """``opened()`` is the archive as a new process of the same server sees it."""
    return lambda: Archive(ArchiveClient.connect(pacs.address), tmp_path / "archive", CHEST, {"Modality": "CR,DX"})


def columns(first: int, last: int, size: tuple[int, int] = (SIZE, SIZE)) -> np.ndarray:
    """A mask of the columns from ``first`` to before ``last``."""
    mask = np.zeros(size, np.uint8)
    mask[:, first:last] = 1
    return mask


def drawn_on(image: Path, first: int, last: int) -> Dataset:
    header = pydicom.dcmread(image, stop_before_pixels=True)
    return segmentation_object(image, columns(first, last, (header.Rows, header.Columns)), CHEST, drawn=True)


def counting(archive: Archive) -> dict[str, tuple[int, int]]:
    """Image to the first and last column of the mask that a training reads."""
    archive.refresh()
    found = {}
    for pair in archive.datalist():
        marked = np.flatnonzero(np.asarray(Image.open(pair["label"])).any(axis=0))
        found[pair["id"]] = (int(marked[0]), int(marked[-1]))
    return found


def submit(archive: Archive, image: str, folder: Path, first: int, last: int) -> None:
    shown = pydicom.dcmread(archive.get_image_uri(image), stop_before_pixels=True)
    Image.fromarray(columns(first, last, (shown.Rows, shown.Columns)) * 255).save(folder / "mask.png")
    archive.save_label(image, str(folder / "mask.png"), "final", {})


def test_a_series_that_was_looked_at_before_its_second_object_came_is_no_image_from_then_on(pacs, opened, objects):
    pacs.objects = objects[:1]
    (image,) = opened().get_unlabeled_images()
    assert pydicom.dcmread(opened().get_image_uri(image)).SOPInstanceUID == objects[0].SOPInstanceUID
    pacs.objects = objects
    archive = opened()
    served = Path(archive.get_image_uri(image))
    assert served.is_dir() and len(list(served.iterdir())) == 2
    assert archive.list_images() == [image] and archive.get_unlabeled_images() == []


def test_a_second_object_is_noticed_by_a_process_that_runs(pacs, opened, objects):
    pacs.objects = objects[:1]
    archive = opened()
    (image,) = archive.list_images()
    assert Path(archive.get_image_uri(image)).is_file()
    pacs.objects = objects
    archive.refresh()
    assert Path(archive.get_image_uri(image)).is_dir()


def test_a_series_that_lost_its_second_object_is_an_image_again(pacs, opened, objects):
    pacs.objects = objects
    (image,) = opened().list_images()
    assert Path(opened().get_image_uri(image)).is_dir()
    pacs.objects = objects[1:]
    assert pydicom.dcmread(opened().get_image_uri(image)).SOPInstanceUID == objects[1].SOPInstanceUID


def test_an_image_is_fetched_once(pacs, opened, objects):
    pacs.objects = objects[:1]
    (image,) = opened().list_images()
    for _ in range(3):
        opened().get_image_uri(image)
    assert pacs.asked["objects"] == 1


def test_a_copy_of_too_few_objects_passes_for_no_image_while_the_archive_does_not_send(
    pacs, opened, objects, monkeypatch
):
    pacs.objects = objects[:1]
    (image,) = opened().list_images()
    opened().get_image_uri(image)
    pacs.objects = objects

    def fail(*_: object) -> None:
        raise Unreachable("down")

    monkeypatch.setattr(ArchiveClient, "objects", fail)
    assert not Path(opened().get_image_uri(image)).exists()


@pytest.mark.parametrize("order", ["the image is fetched before", "the image is not fetched"])
def test_a_label_that_was_drawn_on_another_object_than_the_image_is_set_aside_with_a_reason(
    pacs, opened, objects, drawn, caplog, order
):
    other = drawn_on(drawn[1], 3, 9)
    pacs.objects = objects[:1]
    (image,) = opened().list_images()
    if order == "the image is fetched before":
        opened().get_image_uri(image)
    pacs.objects = [objects[0], other]
    with caplog.at_level(logging.WARNING):
        archive = opened()
        assert counting(archive) == {}
        assert archive.get_unlabeled_images() == [image]
        assert counting(archive) == {}
    told = [record for record in caplog.records if "set aside: it was drawn on another object" in record.message]
    assert len(told) == 1 and str(objects[0].PatientID) not in caplog.text
    pacs.objects.append(drawn_on(drawn[0], 11, 20))
    assert counting(opened()) == {image: (11, 19)}


def test_a_label_of_a_series_that_came_to_have_two_objects_is_set_aside(pacs, opened, objects, drawn):
    pacs.objects = [objects[0], drawn_on(drawn[0], 3, 9)]
    (image,) = opened().get_labeled_images()
    assert counting(opened()) == {image: (3, 8)}
    pacs.objects.append(objects[1])
    assert counting(opened()) == {}


def test_a_segmentation_series_is_looked_at_again_when_it_has_another_number_of_objects(pacs, opened, objects, drawn):
    one, two = drawn_on(drawn[0], 3, 9), drawn_on(drawn[0], 11, 20)
    two.SeriesInstanceUID = one.SeriesInstanceUID
    pacs.objects = [objects[0], one]
    assert opened().get_labeled_images() != []
    asked = pacs.asked["metadata"]
    opened().get_labeled_images()
    assert pacs.asked["metadata"] == asked
    pacs.objects.append(two)
    assert opened().get_labeled_images() == []


def stamped(made: Dataset, moment: datetime, zone: str = "") -> Dataset:
    made.ContentDate, made.ContentTime = moment.strftime("%Y%m%d"), moment.strftime("%H%M%S")
    if zone:
        made.TimezoneOffsetFromUTC = zone
    return made


@pytest.mark.parametrize("earlier_first", [True, False])
def test_the_later_label_is_told_across_time_zones(pacs, opened, objects, drawn, earlier_first):
    noon = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)
    east, west = timezone(timedelta(hours=9)), timezone(timedelta(hours=-5))
    earlier = stamped(drawn_on(drawn[0], 3, 9), noon.astimezone(east), "+0900")  # reads as 21 h
    later = stamped(drawn_on(drawn[0], 11, 20), (noon + timedelta(hours=1)).astimezone(west), "-0500")  # reads as 8 h
    pacs.objects = [objects[0], *((earlier, later) if earlier_first else (later, earlier))]
    assert list(counting(opened()).values()) == [(11, 19)]


@pytest.mark.parametrize("zone", ["", "+0200"])
def test_a_label_submitted_here_counts_whatever_the_clock_of_an_earlier_one_says(
    pacs, opened, objects, drawn, tmp_path, zone
):
    fast = stamped(drawn_on(drawn[0], 3, 9), datetime.now() + timedelta(days=3), zone)
    pacs.objects = [objects[0], fast]
    (image,) = opened().list_images()
    submit(opened(), image, tmp_path, 30, 40)
    assert counting(opened()) == {image: (30, 39)}
    submit(opened(), image, tmp_path, 5, 12)
    assert counting(opened()) == {image: (5, 11)}
    pacs.objects.append(stamped(drawn_on(drawn[0], 50, 60), datetime.now() + timedelta(days=4)))
    assert counting(opened()) == {image: (50, 59)}, "what came later and says so counts"


def test_a_label_that_was_withdrawn_in_the_archive_leaves_the_earlier_one(pacs, opened, objects, drawn, tmp_path):
    pacs.objects = [objects[0], drawn_on(drawn[0], 3, 9)]
    (image,) = opened().list_images()
    submit(opened(), image, tmp_path, 30, 40)
    pacs.objects = pacs.objects[:2]
    assert counting(opened()) == {image: (3, 8)}


def test_an_index_of_an_earlier_version_is_made_anew(pacs, opened, objects, drawn, tmp_path):
    label = drawn_on(drawn[0], 3, 9)
    pacs.objects = [objects[0], label]
    index = tmp_path / "archive" / "labels" / "final" / "segmentations.json"
    index.parent.mkdir(parents=True)
    uid = str(label.SeriesInstanceUID)
    index.write_text(json.dumps({uid: {"series": uid, "image": "", "written": "20260101 1"}}))
    assert list(counting(opened()).values()) == [(3, 8)]


def test_a_killed_fetch_leaves_what_the_next_start_clears(pacs, opened, objects, monkeypatch):
    pacs.objects = objects[:1]
    (image,) = opened().list_images()
    seen = []

    def killed(_: Dataset, path: Path) -> None:
        seen.append(Path(path).parent.name)
        raise KeyboardInterrupt

    monkeypatch.setattr(archived_images, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        opened().get_image_uri(image)
    assert len(seen) == 1 and TEMPORARY.fullmatch(seen[0])


def test_the_labels_of_this_machine_are_listed_once_a_request(tmp_path, monkeypatch):
    images = [Series(f"1.2.{number}", "1.3", "CR", 1) for number in range(50)]

    class Listed:
        address = "listed"

        def series(self, wanted: dict[str, str]) -> list[Series]:
            return [] if wanted["Modality"] == "SEG" else images

    archive = Archive(Listed(), tmp_path / "archive", CHEST, {"Modality": "CR"})
    for number in (3, 7):
        (tmp_path / "archive" / "labels" / "original").mkdir(exist_ok=True)
        (tmp_path / "archive" / "labels" / "original" / f"1.2.{number}.nii.gz").write_bytes(b"")
    listings = []
    glob = Path.glob
    monkeypatch.setattr(Path, "glob", lambda self, pattern: listings.append(pattern) or glob(self, pattern))
    assert len(archive.get_unlabeled_images()) == 50 and len(archive.get_unlabeled_images("original")) == 48
    assert archive.get_labeled_images("original") == ["1.2.3", "1.2.7"]
    assert archive.status() == {"total": 50, "completed": 0, "label_tags": {"original": 2}}
    assert archive.json()["objects"]["1.2.7"]["labels"] == {"original": "1.2.7"}
    assert archive.get_label_uri("1.2.7", "original").endswith("1.2.7.nii.gz")
    assert len(listings) <= 6
    archive.remove_label("1.2.7", "original")
    assert archive.get_labels_by_image_id("1.2.7") == {}
