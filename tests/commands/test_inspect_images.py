"""What a folder holds is told before anything is made of it, and nobody's name is."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.datadict import keyword_dict
from pydicom.uid import CTImageStorage

from bundle.commands import run_verb
from bundle.report.contact_sheet import CAPTION, COLUMNS, SIDE, contact_sheet, spread
from tests.data.conftest import make_dicom

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)
TEXT = ("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT")


@pytest.fixture
def export(tmp_path) -> Path:
    """A chest, its copy, the same instance once more, a colour photograph that says it has text in it, and what no
    listing takes."""
    root = tmp_path / "export"
    uid = {"SOPInstanceUID": "1.2.3"}
    make_dicom(root / "a" / "chest", RAMP, BodyPartExamined="CHEST", PixelSpacing=[0.2, 0.2], PatientID="P1", **uid)
    (root / "b").mkdir()
    (root / "b" / "copy").write_bytes((root / "a" / "chest").read_bytes())
    make_dicom(root / "b" / "again", RAMP, BodyPartExamined="CHEST", Manufacturer="x", PatientID="P1", **uid)
    colour = np.full((30, 40, 3), 200, np.uint8)
    make_dicom(root / "photo.dcm", colour, bits=8, Modality="XC", BurnedInAnnotation="YES", PatientID="P2")
    make_dicom(root / "ct.dcm", RAMP, Modality="CT", SOPClassUID=CTImageStorage, PatientID="P3")
    with zipfile.ZipFile(root / "more.zip", "w") as archive:
        archive.write(make_dicom(tmp_path / "cr.dcm", RAMP[:32], WindowCenter=9, WindowWidth=8, PatientID="P4"), "cr")
    Image.fromarray(colour[..., 0]).save(root / "grey.png")
    (root / "page.dcm").write_text("<html>")
    (root / "notes.txt").write_text("no image")
    return root


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_everything_is_counted_and_what_a_listing_would_set_aside_is_named(export, tmp_path, capsys):
    before = sorted(export.rglob("*"))
    out = tmp_path / "inspection"
    assert run_verb("inspect_images", [str(export), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == str(out)
    told = json.loads((out / "inspection.json").read_text())
    assert {name: told[name] for name in ("files", "usable_images", "other_files", "patients")} == {
        "files": 8,
        "usable_images": 4,
        "other_files": 1,
        "patients": 4,
    }
    counts = told["counts"]
    assert counts["modality"] == {"CR": 4, "XC": 1, "CT": 1}
    assert counts["body_part"] == {"CHEST": 3, "not told": 3}
    assert counts["format"] == {"DICOM": 6, "unreadable": 1, "PNG": 1}
    assert counts["size"] == {"64 x 64": 4, "40 x 30": 2, "64 x 32": 1}
    assert counts["burned_in"] == {"not told": 5, "YES": 1}
    assert counts["transfer_syntax"] == {"Explicit VR Little Endian": 6}
    assert told["set_aside"] == {"duplicate": 1, "same id": 1, "other modality": 1, "unreadable": 1}
    assert {row["path"]: row["reason"].split(":")[0] for row in table(out / "quarantine.csv")} == {
        "b/copy": "duplicate",
        "b/again": "same id",
        "ct.dcm": "other modality",
        "page.dcm": "unreadable",
    }
    rows = {row["path"]: row for row in table(out / "files.csv")}
    assert rows["more.zip/cr"]["usable"] == "yes" and rows["more.zip/cr"]["shown_by"] == "window"
    assert rows["ct.dcm"]["usable"] == "no"
    assert all(str(number) in said for number in (4, 8)) and "1 × duplicate" in said
    assert sorted(export.rglob("*")) == before
    assert not (out / "unpacked").exists(), "what an archive holds does not stay"


def test_with_a_modality_its_own_rules_count(export, tmp_path):
    arguments = [str(export), "--modality", "chest_xray", "--out", str(tmp_path / "out")]
    assert run_verb("inspect_images", arguments) == 0
    rows = {row["path"]: row["usable"] for row in table(tmp_path / "out" / "files.csv")}
    assert rows["photo.dcm"] == "no" and rows["a/chest"] == "yes"


def test_an_image_that_says_it_has_text_in_it_is_not_shown(export, tmp_path):
    assert run_verb("inspect_images", [str(export), "--out", str(tmp_path / "out")]) == 0
    sheet = np.asarray(Image.open(tmp_path / "out" / "contact_sheet.png"))
    assert sheet.shape == (SIDE + CAPTION, COLUMNS * SIDE, 3)
    rows = [row for row in table(tmp_path / "out" / "files.csv") if row["usable"] == "yes"]
    place = [row["path"] for row in rows].index("photo.dcm")
    tile = sheet[:SIDE, place * SIDE : (place + 1) * SIDE]
    assert len(np.unique(tile)) == 2 and not (tile == 200).any(), "a field of one grey on the ground"


def test_a_file_in_a_folder_called_frames_is_usable_and_shown(tmp_path):
    for place in ("study/frames/IM0.dcm", "study/frames/1", "frames/2"):
        make_dicom(tmp_path / "export" / place, RAMP)
    stack = np.stack([RAMP, RAMP // 2])
    make_dicom(tmp_path / "export" / "run.dcm", RAMP, NumberOfFrames=2, PixelData=stack.tobytes())
    for frames in ("first", "all"):
        out = tmp_path / frames
        assert run_verb("inspect_images", [str(tmp_path / "export"), "--frames", frames, "--out", str(out)]) == 0
        rows = table(out / "files.csv")
        assert [row["usable"] for row in rows] == ["yes"] * 4
        sheet = np.asarray(Image.open(out / "contact_sheet.png"))
        assert all(len(np.unique(sheet[:SIDE, tile * SIDE : (tile + 1) * SIDE])) > 50 for tile in range(4))


def test_a_folder_without_an_image_is_told_as_such(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert run_verb("inspect_images", [str(tmp_path / "empty"), "--out", str(tmp_path / "out")]) == 0
    assert "0 image files, 0 images usable" in capsys.readouterr().out
    assert run_verb("inspect_images", [str(tmp_path / "empty"), "--out", str(tmp_path / "out")]) == 2
    assert run_verb("inspect_images", [str(tmp_path / "absent"), "--out", str(tmp_path / "other")]) == 2
    assert not (tmp_path / "other").exists()


def test_a_name_in_any_text_tag_is_in_no_output(tmp_path, capsys, caplog):
    secret = "PLANTED"
    path = make_dicom(tmp_path / "export" / "image", RAMP)
    file = pydicom.dcmread(path)
    with pydicom.config.disable_value_validation():
        for keyword in keyword_dict:
            vr = pydicom.datadict.dictionary_VR(keyword)
            tag = pydicom.datadict.tag_for_keyword(keyword)
            if vr in TEXT and tag >> 16 not in (0, 2) and keyword != "PhotometricInterpretation":
                file.add_new(tag, vr, secret)
        file.save_as(path)
    make_dicom(tmp_path / "export" / "other", RAMP, PatientID=secret, InstitutionName=secret)
    for verb, more in (("inspect_images", [str(tmp_path / "export")]), ("make_datalist", ["--images"])):
        out = tmp_path / verb
        if verb == "make_datalist":
            more = ["--images", str(tmp_path / "export"), "--modality", "chest_xray"]
        assert run_verb(verb, [*more, "--out", str(out / "list.json" if verb == "make_datalist" else out)]) == 0
        for written in out.rglob("*"):
            assert written.is_dir() or secret.encode() not in written.read_bytes(), written
    said = capsys.readouterr()
    assert secret not in said.out + said.err + caplog.text


def test_tiles_are_spread_evenly_with_both_ends():
    assert list(spread(0, 5)) == [] and list(spread(3, 5)) == [0, 1, 2]
    assert list(spread(9, 3)) == [0, 4, 8]
    assert contact_sheet([]).size == (COLUMNS * SIDE, SIDE + CAPTION)
