"""A folder as an archive hands it over: discs with a DICOMDIR, zip archives, links."""

from __future__ import annotations

import csv
import errno
import json
import os
import signal
import socket
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.fileset import FileSet

from bundle.commands import run_verb
from bundle.data.datalist import load_datalist
from bundle.data.identity import Pseudonyms
from bundle.data.inventory import take_inventory
from bundle.data.modality import load_modality
from bundle.data.reader import read_image
from bundle.data.tree import ImageTree, walk
from bundle.run.quarantine import Quarantine
from tests.data.conftest import make_dicom

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)
FULL = {"WindowCenter": 2048, "WindowWidth": 4096}
# What a DICOMDIR wants to know of its images.
TYPED = {"StudyDate": "20200101", "StudyTime": "120000", "StudyID": "1", "SeriesInstanceUID": "1.2", "SeriesNumber": 1}


def table(path: Path) -> dict[str, str]:
    with path.open(newline="", encoding="utf-8") as handle:
        return {row["path"]: row["reason"] for row in csv.DictReader(handle)}


@pytest.fixture
def disc(tmp_path) -> Path:
    """A disc of two images with its DICOMDIR, as a hospital burns it."""
    files = FileSet()
    for number in (1, 2):
        path = make_dicom(tmp_path / f"{number}.dcm", RAMP + np.uint16(number), InstanceNumber=number, **TYPED)
        files.add(pydicom.dcmread(path))
        path.unlink()
    files.write(tmp_path / "disc")
    return tmp_path / "disc"


def zipped(folder: Path, archive: Path) -> Path:
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for path in sorted(folder.rglob("*")):
            opened.write(path, path.relative_to(folder).as_posix())
    return archive


def listed(tmp_path: Path, images: Path, *more: str) -> tuple[Path, int]:
    out = tmp_path / "run" / "datalist.json"
    arguments = ["--images", str(images), "--modality", "chest_xray", "--out", str(out), *more]
    return out, run_verb("make_datalist", arguments)


def test_a_dicomdir_is_no_image_and_a_way_to_name_its_folder(disc, tmp_path):
    for images in (disc, disc / "DICOMDIR"):
        out, code = listed(tmp_path, images, "--overwrite")
        assert code == 0
        datalist = load_datalist(out)
        assert len(datalist.ids("pool")) == 2 and datalist.root == disc
        assert table(out.parent / "quarantine.csv") == {}


def test_what_a_dicomdir_lists_in_vain_is_named(disc, tmp_path):
    lost, kept = sorted(path for path in disc.rglob("*") if path.is_file() and path.name != "DICOMDIR")
    lost.unlink()
    kept.rename(kept.with_name(kept.name.lower()))  # as some systems mount a disc
    out, code = listed(tmp_path, disc)
    assert code == 0
    assert table(out.parent / "quarantine.csv") == {lost.relative_to(disc).as_posix(): "missing: a DICOMDIR lists it"}


def test_a_dicomdir_that_points_elsewhere_leads_nowhere(disc):
    path = disc / "DICOMDIR"
    content = path.read_bytes()
    name = next(part for part in content.split(b"\\") if part.startswith(b"IM"))[:8]
    path.write_bytes(content.replace(name, b"..".ljust(len(name))))
    tree = ImageTree(disc)
    quarantine = Quarantine(disc)
    files = list(tree.files(quarantine))
    assert len(files) == 2 and all(disc in file.parents for file in files)


def test_images_in_archives_are_listed_under_the_archives_name(tmp_path, disc):
    export = tmp_path / "export"
    make_dicom(export / "plain" / "a.dcm", RAMP)
    archive = zipped(disc, export / "ward" / "Disc.ZIP")
    inner = tmp_path / "inner.zip"
    inner.write_bytes(archive.read_bytes())
    with zipfile.ZipFile(archive, "a") as opened:
        opened.write(inner, "more.zip")
        opened.writestr("../../leaves.dcm", b"no")
    (export / "broken.zip").write_bytes(b"PK no")
    before = sorted(export.rglob("*"))
    out, code = listed(tmp_path, export)
    assert code == 0
    entries = load_datalist(out).section("pool")
    shown = sorted(entry["image"] for entry in json.loads(out.read_text())["pool"])
    assert len(entries) == 3 and sum(name.startswith("ward/Disc.ZIP/") for name in shown) == 2
    for entry in entries:
        assert read_image(entry["image"], "chest_xray").shape == (64, 64, 1)
    assert table(out.parent / "quarantine.csv") == {
        "broken.zip": "not unpacked: the zip archive is broken or cut short",
        "ward/Disc.ZIP/../../leaves.dcm": "not unpacked: its name leads out of the archive",
        "ward/Disc.ZIP/more.zip": "not unpacked: a zip archive inside another one",
    }
    assert sorted(export.rglob("*")) == before, "the export is not written to"
    assert not list(tmp_path.rglob("leaves.dcm"))


def test_an_archive_by_itself_is_a_folder_of_images(tmp_path, disc):
    zipped(disc, tmp_path / "other.zip")
    archive = zipped(disc, tmp_path / "export.zip")
    out, code = listed(tmp_path, archive)
    assert code == 0
    datalist = load_datalist(out)
    assert (
        len(datalist.section("pool")) == 2 and datalist.root.relative_to(out.parent / "unpacked").name == "export.zip"
    )
    assert datalist.unpacked_root is None
    assert all("zip" not in entry["image"] for entry in json.loads(out.read_text())["pool"])


@pytest.mark.parametrize("alone", [True, False])
def test_another_archive_of_the_same_name_does_not_replace_what_a_datalist_refers_to(tmp_path, alone):
    contents, lists = [], []
    for place in ("first", "second"):
        make_dicom(tmp_path / place / "content" / "a.dcm", RAMP + np.uint16(len(place)))
        Image.fromarray((RAMP // 16 + len(place)).astype(np.uint8)).save(tmp_path / place / "content" / "b.png")
        archive = zipped(tmp_path / place / "content", tmp_path / place / "sent" / "export.zip")
        contents.append({path.name: path.read_bytes() for path in (tmp_path / place / "content").iterdir()})
        out = tmp_path / "run" / f"{place}.json"
        images = archive if alone else archive.parent
        assert run_verb("make_datalist", ["--images", str(images), "--modality", "chest_xray", "--out", str(out)]) == 0
        lists.append(out)
    for out, content in zip(lists, contents, strict=True):
        entries = load_datalist(out).section("pool")
        assert {Path(entry["image"]).name: Path(entry["image"]).read_bytes() for entry in entries} == content
        assert ("b" if alone else "export.zip/b") in load_datalist(out).ids("pool"), "no id tells of the content"


def test_the_same_archive_listed_again_is_unpacked_once(tmp_path, disc):
    archive = zipped(disc, tmp_path / "sent" / "export.zip")
    for images in (archive, archive.parent):
        found = []
        for _ in range(2):
            out, code = listed(tmp_path, images, "--overwrite")
            entries = load_datalist(out).section("pool")
            found.append({entry["id"]: Path(entry["image"]).stat().st_ino for entry in entries})
            assert code == 0 and len(entries) == 2
        assert found[0] == found[1]
    assert len(list((out.parent / "unpacked").iterdir())) == 1, "whichever way it is given"


def test_a_datalist_of_before_archives_had_folders_of_their_own_is_read(tmp_path):
    make_dicom(tmp_path / "run" / "unpacked" / "ward.zip" / "a.dcm", RAMP)
    content = {"modality": "chest_xray", "root": "..", "unpacked_root": "unpacked"}
    pool = [{"id": "x", "image": "ward.zip/a.dcm"}]
    (tmp_path / "run" / "datalist.json").write_text(json.dumps({**content, "pool": pool}))
    (entry,) = load_datalist(tmp_path / "run" / "datalist.json").section("pool")
    assert Path(entry["image"]).is_file()
    for wrong in (["ward.zip"], {"ward.zip": "../x"}, {"ward.zip": 1}):
        (tmp_path / "run" / "datalist.json").write_text(json.dumps({**content, "archives": wrong, "pool": pool}))
        with pytest.raises(ValueError, match="archives must map the path of each zip archive"):
            load_datalist(tmp_path / "run" / "datalist.json")


def test_an_archive_and_a_compressed_file_that_are_not_read_are_named(tmp_path):
    export = tmp_path / "export"
    make_dicom(export / "a.dcm", RAMP)
    make_dicom(export / "b.tar", RAMP)  # whatever it is called, its content is an image
    for name in ("c.tar.gz", "d.dcm.gz", "e.TGZ", "f.7z", "g.rar", "h.tar"):
        (export / name).write_bytes(b"packed")
    out, code = listed(tmp_path, export)
    assert code == 0 and len(load_datalist(out).ids("pool")) == 2
    reasons = table(out.parent / "quarantine.csv")
    assert sorted(reasons) == ["c.tar.gz", "d.dcm.gz", "e.TGZ", "f.7z", "g.rar", "h.tar"]
    assert set(reasons.values()) == {"not unpacked: of archives only .zip is read; unpack it"}


def test_a_named_pipe_a_socket_and_a_device_are_named_and_never_opened(tmp_path, caplog):
    export = tmp_path / "export"
    make_dicom(export / "a.dcm", RAMP)
    (export / "link.dcm").symlink_to("a.dcm")
    (export / "nowhere.dcm").symlink_to("absent.dcm")
    os.mkfifo(export / "pipe")
    os.mkfifo(export / "run.json")
    (export / "device").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as opened:
        here = os.open(export, os.O_RDONLY)  # the address of a socket may have a hundred characters
        opened.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
    (export / "deeper").mkdir()
    os.mkfifo(export / "deeper" / "run.json")
    signal.alarm(60)  # a pipe that is opened waits for ever
    try:
        out, code = listed(tmp_path, export)
        assert {path.name for path in walk(export)} == {"a.dcm", "link.dcm", "nowhere.dcm"}
    finally:
        signal.alarm(0)
    assert code == 0 and len(load_datalist(out).ids("pool")) == 1
    reasons = table(out.parent / "quarantine.csv")
    special = [name for name, reason in reasons.items() if reason == "no file: a named pipe, a socket or a device"]
    assert sorted(special) == ["deeper/run.json", "device", "pipe", "run.json", "socket"]
    assert reasons["link.dcm"].startswith("duplicate")
    assert "pipe is left out: no file" in caplog.text, "where nobody takes note the log tells"


def test_a_broken_archive_by_itself_is_named(tmp_path, capsys):
    (tmp_path / "export.zip").write_bytes(b"PK no")
    out, code = listed(tmp_path, tmp_path / "export.zip")
    assert code == 2 and "no usable chest_xray image" in capsys.readouterr().err
    (reason,) = table(out.parent / "quarantine.csv").values()
    assert reason == "not unpacked: the zip archive is broken or cut short"


def test_images_that_are_nothing_of_the_kind_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no")
    for images in (tmp_path / "absent", tmp_path / "notes.txt"):
        with pytest.raises(ValueError, match="a folder, a zip archive or a DICOMDIR"):
            ImageTree(images)


def test_every_frame_is_an_image_of_its_own_when_asked_for(tmp_path):
    stack = np.stack([RAMP, RAMP // 2, RAMP // 3])
    export = tmp_path / "export"
    make_dicom(export / "run.dcm", RAMP, NumberOfFrames=3, PixelData=stack.tobytes(), PatientID="P1", **FULL)
    make_dicom(export / "one.dcm", RAMP, PatientID="P2")
    make_dicom(export / "ct.dcm", RAMP, Modality="CT")
    out, _ = listed(tmp_path, export)
    first = load_datalist(out)
    assert len(first.ids("pool")) == 2
    out, _ = listed(tmp_path, export, "--frames", "all", "--overwrite")
    every = load_datalist(out)
    assert len(every.ids("pool")) == 4 and len(set(every.ids("pool"))) == 4
    numbered = {entry["id"]: entry for entry in every.section("pool") if entry["id"][-5] == "-"}
    assert sorted(identifier[-5:] for identifier in numbered) == ["-0001", "-0002", "-0003"]
    assert len({entry["group"] for entry in numbered.values()}) == 1, "frames of one patient stay together"
    means = [float(read_image(numbered[name]["image"], "chest_xray").mean()) for name in sorted(numbered)]
    np.testing.assert_allclose(means, stack.mean(axis=(1, 2)) / 4095, atol=1e-3)
    assert len(set(first.ids("pool")) & set(every.ids("pool"))) == 1, "a single frame keeps its id"
    assert table(out.parent / "quarantine.csv") == {"ct.dcm": "other modality: CT (Computed Radiography Image Storage)"}


@pytest.mark.parametrize("stage", ["infer", "evaluate"])
@pytest.mark.parametrize("table", ["run.json", "request.json"])
def test_masks_and_drawings_of_an_earlier_run_are_no_images_and_other_folders_with_a_record_are(
    tmp_path, caplog, stage, table
):
    for folder, made_by in (("results", stage), ("demo", "make_demo")):
        (tmp_path / folder / "deeper").mkdir(parents=True)
        (tmp_path / folder / "deeper" / "a.png").write_bytes(b"")
        (tmp_path / folder / table).write_text(json.dumps({"stage": made_by}))
    (tmp_path / "run.json").write_text("no JSON")
    found = {path.relative_to(tmp_path).as_posix() for path in walk(tmp_path)}
    assert found == {"run.json", "demo/deeper/a.png", f"demo/{table}"}
    assert f"results holds what {stage} has written" in caplog.text
    below = {path.name for path in walk(tmp_path / "results")}
    assert below == {"a.png", table}, "a folder that is asked for itself is looked into"


def test_a_folder_and_a_file_that_cannot_be_opened_are_named(tmp_path, monkeypatch):
    make_dicom(tmp_path / "a.dcm", RAMP)
    (tmp_path / "closed").mkdir()
    (tmp_path / "bare").write_bytes(b"x")
    scandir, access = os.scandir, os.access

    def closed(path):
        if Path(path).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "bare" and access(path, mode))
    aside = Quarantine(tmp_path)
    entries, _ = take_inventory(
        ImageTree(tmp_path),
        modality=load_modality("chest_xray"),
        pseudonyms=Pseudonyms(tmp_path / "key"),
        quarantine=aside,
    )
    assert len(entries) == 1
    assert {row["path"]: row["reason"] for row in aside.rows} == {
        "closed": "folder that cannot be opened: Permission denied",
        "bare": "unreadable: the file cannot be opened",
    }
