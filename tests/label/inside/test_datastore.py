"""A folder of images as MONAI Label's datastore: what is an image, what is a label, and that none is ever lost."""

from __future__ import annotations

import csv
import json
import os
import shutil
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from fastapi import HTTPException
from PIL import Image

from bundle.data.datalist import make_datalist
from bundle.data.demo import make_demo
from bundle.data.masks import read_mask
from bundle.data.modality import load_modality
from bundle.label import datastore
from bundle.label.datastore import ORIGINAL, REPLACED, StudyFolder

SKIN, CHEST = load_modality("dermoscopy"), load_modality("chest_xray")
HEIGHT, WIDTH = 30, 40
LATIN_1 = os.fsdecode(b"M\xfcller.png")  # no UTF-8: a lone surrogate in Python


@pytest.fixture
def studies(tmp_path) -> Path:
    (tmp_path / "studies").mkdir()
    return tmp_path / "studies"


@pytest.fixture
def upload(tmp_path) -> Callable[[np.ndarray], str]:
    """``upload(mask, name)`` is the path of what a client has sent."""
    (tmp_path / "uploads").mkdir()

    def send(pixels: np.ndarray, name: str = "mask.png") -> str:
        Image.fromarray(pixels).save(tmp_path / "uploads" / name)
        return str(tmp_path / "uploads" / name)

    return send


def draw(path: Path, seed: int = 0) -> Path:
    """An image of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def left(columns: int) -> np.ndarray:
    """A mask of the first columns."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:, :columns] = 255
    return mask


def columns_of(path: str | Path, modality=SKIN) -> list[int]:
    """First and last column of a mask, as the training reads it."""
    found = np.flatnonzero(read_mask(path, labels=modality.labels).any(axis=0))
    return [int(found[0]), int(found[-1])]


def set_aside(studies: Path) -> dict[str, str]:
    with (studies / "labels" / "quarantine.csv").open(newline="") as handle:
        return {row["path"]: row["reason"] for row in csv.DictReader(handle)}


def kept_aside(studies: Path, tag: str = "final") -> list[Path]:
    return sorted(path for path in (studies / "labels" / tag / REPLACED).rglob("*") if path.is_file())


def listed(studies: Path, modality: str, tmp_path: Path) -> dict[str, str]:
    """Path without suffix to suffix of every image of the folder's datalist."""
    found = make_datalist(studies, modality=modality, key_file=tmp_path / "key", validation_fraction=0)
    return {str(Path(e["image"]).with_suffix("")): Path(e["image"]).suffix for e in found.sections["pool"]}


def served(store: StudyFolder) -> dict[str, str]:
    return {i: Path(store.get_image_uri(i)).suffix for i in store.list_images()}


@pytest.mark.parametrize(
    "identifier",
    [
        *(
            "./ok",
            "p1//IM",
            "p1/./IM",
            "ok/",
            "c/",
            "a/.",
            ".",
            "",
            "/ok",
            "../ok",
            ".hidden",
            "labels/x",
            "p1/Labels/x",
        ),
        *("a\nb", "a\u2028b", "a\x00b", "a\\b", os.fsdecode(b"M\xfcller"), "x" * 249, "/".join(["ab"] * 400)),
    ],
)
def test_an_id_that_is_not_the_plain_path_of_its_file_is_refused_and_nothing_is_written(studies, tmp_path, identifier):
    draw(studies / "ok.png", 1)
    draw(studies / "p1" / "IM.png", 2)
    store = StudyFolder(studies, SKIN)
    before = {path: path.read_bytes() for path in studies.rglob("*") if path.is_file()}
    with pytest.raises(HTTPException) as refused:
        # Of an upload without an id MONAI Label takes the file's name, so an empty one cannot be asked for.
        store.add_image(identifier or ".", str(draw(tmp_path / "foreign.png", 9)), {})
    assert refused.value.status_code == 400 and "image id must" in refused.value.detail
    assert {path: path.read_bytes() for path in studies.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("hard_links", [True, False])
def test_an_upload_never_replaces_a_file(studies, tmp_path, monkeypatch, hard_links):
    draw(studies / "ok.png", 1)
    taken = studies / "ok_mask.png"  # set aside, so no image has the id
    Image.fromarray(left(5)).save(taken)
    before = taken.read_bytes()
    store = StudyFolder(studies, SKIN)
    if not hard_links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError(1, "no links here")))
    for identifier in ("ok", "ok_mask"):
        with pytest.raises(HTTPException) as refused:
            store.add_image(identifier, str(draw(tmp_path / "foreign.png", 9)), {})
        assert refused.value.status_code == 409
    assert store.list_images() == ["ok"] and taken.read_bytes() == before
    assert store.add_image("new/one", str(draw(tmp_path / "foreign.png", 9)), {}) == "new/one"
    assert (studies / "new" / "one.png").read_bytes() == (tmp_path / "foreign.png").read_bytes()
    assert sorted(path.name for path in (studies / "new").iterdir()) == ["one.png"]


def test_an_id_below_a_file_is_refused(studies, tmp_path):
    draw(studies / "ok.png")
    with pytest.raises(HTTPException) as refused:
        StudyFolder(studies, SKIN).add_image("ok.png/b", str(draw(tmp_path / "foreign.png", 9)), {})
    assert refused.value.status_code == 409 and "a folder where a file is" in refused.value.detail


@pytest.mark.parametrize("link", ["labels", "labels/final"])
def test_a_corrected_mask_stays_where_labels_are_on_another_disk(studies, tmp_path, upload, link):
    draw(studies / "x.png")
    (tmp_path / "disk").mkdir()
    (studies / link).parent.mkdir(exist_ok=True)
    (studies / link).symlink_to(tmp_path / "disk")
    store = StudyFolder(studies, SKIN)
    for columns in (5, 9):
        store.save_label("x", upload(left(columns)), "final", {})
        store.refresh()
        assert store.get_labeled_images() == ["x"]
        assert columns_of(store.get_label_uri("x", "final")) == [0, columns - 1]


def test_a_mask_that_is_replaced_is_kept_aside_and_counts_no_longer(studies, upload):
    draw(studies / "p1" / "x.png")
    store = StudyFolder(studies, SKIN)
    for columns in (5, 5, 9):  # the same twice is one
        store.save_label("p1/x", upload(left(columns)), "final", {})
        store.save_label("p1/x", upload(left(columns)), ORIGINAL, {})
    (kept,) = kept_aside(studies)
    assert kept.name == "x.png" and columns_of(kept) == [0, 4]
    assert kept_aside(studies, ORIGINAL) == [], "what a model drew is drawn again"
    store.refresh()
    assert [columns_of(entry["label"]) for entry in store.datalist()] == [[0, 8]]
    assert StudyFolder(studies, SKIN).get_labeled_images() == ["p1/x"]


def test_a_mask_put_there_by_hand_a_moment_ago_is_kept_when_another_is_submitted(studies, upload):
    draw(studies / "x.png")
    store = StudyFolder(studies, SKIN)
    shutil.copy(upload(left(7)), studies / "labels" / "final" / "x.png")
    store.save_label("x", upload(left(3)), "final", {})
    assert [columns_of(path) for path in kept_aside(studies)] == [[0, 6]]


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_mask_lies_where_its_geometry_says_as_in_a_datalist(studies, tmp_path, by_hand):
    affine = np.diag([-0.2, -0.2, 1.0, 1.0])
    values = np.arange(WIDTH, dtype=np.int16)[:, None, None] + np.zeros((WIDTH, HEIGHT, 1), np.int16)
    nibabel.save(nibabel.Nifti1Image(values, affine), studies / "x.nii.gz")
    mask = np.zeros((WIDTH, HEIGHT, 1), np.uint8)
    mask[:10] = 1
    turned = tmp_path / "turned.nii.gz"
    nibabel.save(nibabel.as_closest_canonical(nibabel.Nifti1Image(mask, affine)), turned)
    assert columns_of(turned, CHEST) == [WIDTH - 10, WIDTH - 1], "stored the other way round"
    store = StudyFolder(studies, CHEST)
    if by_hand:
        shutil.copy(turned, studies / "labels" / "final" / "x.nii.gz")
        store.refresh()
    else:
        store.save_label("x", str(turned), "final", {})
    for _ in range(2):  # it is not turned again
        (entry,) = store.datalist()
        assert columns_of(entry["label"], CHEST) == [0, 9]
    found = make_datalist(
        studies,
        modality="chest_xray",
        key_file=tmp_path / "key",
        masks=studies / "labels" / "final",
        drawn=tmp_path / "drawn",
        validation_fraction=0,
    ).section("training", labelled=True)
    assert [columns_of(entry["label"], CHEST) for entry in found] == [[0, 9]]
    assert [path.read_bytes() for path in kept_aside(studies)] == ([turned.read_bytes()] if by_hand else [])


def test_a_mask_that_was_cut_down_to_what_was_drawn_is_taken(studies, tmp_path):
    draw(studies / "x.png")
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    affine[:2, 3] = [-12, -4]
    nibabel.save(nibabel.Nifti1Image(np.ones((6, 5, 1), np.uint8), affine), tmp_path / "part.nii")
    store = StudyFolder(studies, SKIN)
    store.save_label("x", str(tmp_path / "part.nii"), "final", {})
    mask = read_mask(store.get_label_uri("x", "final"), labels=SKIN.labels)
    assert mask.shape == (HEIGHT, WIDTH) and mask[4:9, 12:18].all() and mask.sum() == 30


def test_a_gif_mask_is_still_a_label_after_the_next_listing(studies, upload):
    draw(studies / "x.png")
    store = StudyFolder(studies, SKIN)
    store.save_label("x", upload(left(4), "mask.gif"), "final", {})
    store.refresh()
    assert [columns_of(entry["label"]) for entry in store.datalist()] == [[0, 3]]


def test_of_files_with_one_stem_that_of_a_datalist_is_served(studies, tmp_path):
    for number, name in enumerate(("a.jpg", "a.png", "b.png", "c.tif", "c.bmp")):
        draw(studies / name, number)
    (studies / "b.jpg").write_bytes(b"broken")
    store = StudyFolder(studies, SKIN)
    assert served(store) == listed(studies, "dermoscopy", tmp_path) == {"a": ".jpg", "b": ".png", "c": ".bmp"}
    assert set(set_aside(studies)) == {"a.png", "b.jpg", "c.tif"} and "same id: a.jpg" in set_aside(studies)["a.png"]


def test_a_preview_beside_its_radiograph_is_no_image(studies, tmp_path):
    demo = make_demo(tmp_path / "demo", modality="chest_xray", count=2, size=64)
    for name, image in zip(("x.dcm", "IM1"), sorted((demo / "images").rglob("*.dcm")), strict=True):
        shutil.copy(image, studies / name)
    draw(studies / "x.jpg")
    draw(studies / "IM1.png")
    store = StudyFolder(studies, CHEST)
    assert served(store) == listed(studies, "chest_xray", tmp_path) == {"x": ".dcm", "IM1": ""}
    assert all(reason.startswith("preview") for reason in set_aside(studies).values())


def test_a_label_does_not_pass_to_another_file_of_the_same_id(studies, upload):
    draw(studies / "x.jpg", 1)
    draw(studies / "x.png", 2)
    store = StudyFolder(studies, SKIN)
    store.save_label("x", upload(left(5)), "final", {})
    store.update_image_info("x", {"skip": True})
    (studies / "x.jpg").unlink()
    store.refresh()
    assert served(store) == {"x": ".png"} and store.get_labeled_images() == [] and store.datalist() == []
    assert [columns_of(path) for path in kept_aside(studies)] == [[0, 4]] and store.get_image_info("x")["skip"]
    assert StudyFolder(studies, SKIN).get_labeled_images() == []


@pytest.mark.parametrize("name", [LATIN_1, "a\nb.png"])
def test_a_name_that_no_table_can_hold_is_set_aside_with_a_reason_and_the_server_starts_again(studies, name):
    draw(studies / "ok.png")
    shutil.copy(studies / "ok.png", studies / name)
    for _ in range(2):
        assert StudyFolder(studies, SKIN).list_images() == ["ok"]
    assert [reason for reason in set_aside(studies).values() if "rename it" in reason]


def test_a_server_starts_on_the_account_of_one_that_had_listed_such_a_name(studies):
    draw(studies / "ok.png")
    StudyFolder(studies, SKIN).update_image_info("ok", {"skip": True})
    account = studies / "datastore_v2.json"
    content = json.loads(account.read_text())
    content["objects"][LATIN_1[:-4]] = {"image": {"ext": ".png", "info": {"name": LATIN_1}}, "labels": {}}
    account.write_text(json.dumps(content))
    store = StudyFolder(studies, SKIN)
    assert store.list_images() == ["ok"] and store.get_image_info("ok")["skip"]


def test_an_account_that_cannot_be_read_is_told_without_what_is_in_it(studies):
    draw(studies / "ok.png")
    (studies / "datastore_v2.json").write_text('{"objects": {"Erika Muster": 7}}')
    with pytest.raises(ValueError, match=r"datastore_v2\.json must be .*put an earlier copy back") as told:
        StudyFolder(studies, SKIN)
    assert "Erika" not in str(told.value)


def test_a_note_set_while_another_process_looks_at_a_mask_stays(studies, upload, monkeypatch):
    draw(studies / "x.png", 1)
    draw(studies / "y.png", 2)
    server = StudyFolder(studies, SKIN)
    background = StudyFolder(studies, SKIN, read_only=True)
    look = datastore.check_label

    def meanwhile(*given):
        server.update_image_info("y", {"skip": True})
        return look(*given)

    monkeypatch.setattr(datastore, "check_label", meanwhile)
    background.save_label("x", upload(left(5)), ORIGINAL, {})
    again = StudyFolder(studies, SKIN)
    assert again.get_image_info("y")["skip"] and again.get_label_by_image_id("x", ORIGINAL)


def test_of_changes_at_once_none_is_lost(studies):
    names = [f"i{number}" for number in range(6)]
    for number, name in enumerate(names):
        draw(studies / f"{name}.png", number)
    StudyFolder(studies, SKIN)

    def note(name: str) -> None:
        store = StudyFolder(studies, SKIN, read_only=True)
        for number in range(10):
            store.update_image_info(name, {f"note {number}": True})

    threads = [threading.Thread(target=note, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = StudyFolder(studies, SKIN)
    assert all(store.get_image_info(name).get(f"note {number}") for name in names for number in range(10))


def test_notes_and_labels_outlive_a_subfolder_that_is_away_for_a_while(studies, tmp_path, upload):
    draw(studies / "ok.png", 1)
    draw(studies / "p1" / "x.png", 2)
    draw(studies / "p1" / "plain.png", 3)
    store = StudyFolder(studies, SKIN)
    store.update_image_info("p1/x", {"skip": True})
    store.save_label("p1/x", upload(left(5)), "final", {"client_id": "a"})
    (studies / "p1").rename(tmp_path / "p1")
    store.refresh()
    assert store.list_images() == ["ok"]
    store = StudyFolder(studies, SKIN)  # restarted meanwhile
    (tmp_path / "p1").rename(studies / "p1")
    store.refresh()
    assert sorted(store.list_images()) == ["ok", "p1/plain", "p1/x"] and store.get_labeled_images() == ["p1/x"]
    assert store.get_image_info("p1/x")["skip"] and store.get_label_info("p1/x", "final")["client_id"] == "a"


def test_of_two_masks_that_a_kill_has_left_the_newer_counts(studies, upload):
    draw(studies / "x.png")
    store = StudyFolder(studies, SKIN)
    store.save_label("x", upload(left(5)), "final", {})
    old = studies / "labels" / "final" / "x.png"
    os.utime(old, ns=(10**18, 10**18))
    pixels = np.ascontiguousarray(left(9).T[..., None] // 255)
    nibabel.save(nibabel.Nifti1Image(pixels, np.diag([-1.0, -1.0, 1.0, 1.0])), old.with_name("x.nii.gz"))
    store = StudyFolder(studies, SKIN)
    assert [columns_of(entry["label"]) for entry in store.datalist()] == [[0, 8]] and not old.exists()
    assert [columns_of(path) for path in kept_aside(studies)] == [[0, 4]]


def test_a_mask_without_an_image_is_named(studies, upload):
    draw(studies / "x.png")
    store = StudyFolder(studies, SKIN)
    shutil.copy(upload(left(5)), studies / "labels" / "final" / "misspelt.png")
    store.refresh()
    assert set_aside(studies) == {"labels/final/misspelt.png": "mask without an image: no image of its name"}


def test_the_archive_of_a_dataset_names_its_members_by_id(studies, upload):
    for number, name in enumerate(("p1/IM1", "p2/IM1")):
        draw(studies / f"{name}.png", number)
    store = StudyFolder(studies, SKIN)
    with pytest.raises(HTTPException, match="no label yet"):
        store.get_dataset_archive(None)
    for columns, name in ((5, "p1/IM1"), (20, "p2/IM1")):
        store.save_label(name, upload(left(columns)), "final", {})
    for limit, names in ((None, ("p1/IM1", "p2/IM1")), (1, ("p1/IM1",))):
        file = Path(store.get_dataset_archive(limit))
        with zipfile.ZipFile(file) as archive:
            wanted = {f"{kind}/{name}.png" for name in names for kind in ("image", "label")}
            assert set(archive.namelist()) == {*wanted, "metadata.json"}
            assert archive.read("image/p1/IM1.png") == (studies / "p1" / "IM1.png").read_bytes()
        file.unlink()


def test_a_hospital_s_long_name_is_no_server_error(studies, upload, tmp_path):
    name = "x" * 250
    draw(studies / f"{name}.png")
    store = StudyFolder(studies, SKIN)
    store.save_label(name, upload(left(5)), "final", {})
    store.save_label(name, upload(left(6)), "final", {})
    assert len(kept_aside(studies)) == 1
    nibabel.save(nibabel.Nifti1Image(np.ones((WIDTH, HEIGHT, 1), np.uint8), np.eye(4)), tmp_path / "m.nii.gz")
    with pytest.raises(HTTPException, match="at most 255 bytes") as refused:
        store.save_label(name, str(tmp_path / "m.nii.gz"), "final", {})
    assert refused.value.status_code == 400
