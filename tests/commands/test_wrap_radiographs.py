"""Pictures become DICOM objects one by one: none takes another's place, and none another's patient."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from bundle.commands import run_verb
from bundle.data.datalist import load_datalist


def draw(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng([seed, *os.fsencode(path.name)]).integers(0, 256, (24, 32), dtype=np.uint8)
    Image.fromarray(pixels).save(path, format="JPEG" if path.suffix in (".jpg", ".jfif") else "PNG")
    return path


def reasons(out: Path) -> dict[str, str]:
    with (out / "quarantine.csv").open(newline="", encoding="utf-8") as handle:
        return {row["path"]: row["reason"] for row in csv.DictReader(handle)}


def wrap(images: Path, out: Path) -> int:
    return run_verb("wrap_radiographs", ["--images", str(images), "--out", str(out)])


def test_a_second_picture_of_one_name_is_set_aside_and_the_first_stays(tmp_path, caplog):
    images = tmp_path / "images"
    for name in ("a.jpg", "b.png"):
        draw(images / name)
    assert wrap(images, tmp_path / "alone") == 0
    assert not (tmp_path / "alone" / "quarantine.csv").exists()
    draw(images / "a.png", seed=1)
    assert wrap(images, tmp_path / "both") == 0
    for name in ("a.dcm", "b.dcm"):
        assert (tmp_path / "both" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    assert reasons(tmp_path / "both") == {"a.png": "same name: a.jpg has become a.dcm already; rename one"}
    assert "1 set aside (1 × same name)" in caplog.text


def test_no_two_pictures_share_a_patient_whatever_they_are_called(tmp_path):
    images, out = tmp_path / "images", tmp_path / "out"
    long = "x" * 80
    names = [
        "MCUCXR_0001_0",
        "ward 1/IM1",
        "胸片一",
        "胸片二",
        "é",
        "e\u0301",
        long,
        long + "y",
        "a\\b",
        "a/b",
        "c ",
        "c",
    ]
    for name in names:
        draw(images / f"{name}.png")
    assert wrap(images, out) == 0
    objects = {path.relative_to(out).with_suffix("").as_posix(): pydicom.dcmread(path) for path in out.rglob("*.dcm")}
    assert sorted(objects) == sorted(names)
    patients = {name: str(dataset.PatientID) for name, dataset in objects.items()}
    assert len(set(patients.values())) == len(names)
    assert all(len(patient) <= 64 and patient.isascii() and "?" not in patient for patient in patients.values())
    assert patients["MCUCXR_0001_0"] == "DEMO-MCUCXR_0001_0" and patients["ward 1/IM1"] == "DEMO-ward 1/IM1"
    listed = tmp_path / "datalist.json"
    assert run_verb("make_datalist", ["--images", str(out), "--modality", "chest_xray", "--out", str(listed)]) == 0
    assert len({entry["group"] for entry in load_datalist(listed).section("pool")}) == len(names)


def test_a_name_that_is_no_text_is_set_aside_and_the_others_are_wrapped(tmp_path):
    images = tmp_path / "images"
    good = draw(images / "good.png")
    (images / os.fsdecode(b"bad\xff.png")).write_bytes(good.read_bytes())
    assert wrap(images, tmp_path / "out") == 0
    assert [path.name for path in (tmp_path / "out").glob("*.dcm")] == ["good.dcm"]
    (reason,) = reasons(tmp_path / "out").values()
    assert reason.startswith("name with a line break")


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_where_nothing_can_be_wrapped_the_command_fails_and_leaves_no_folder(tmp_path, capsys, content):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(content)
    assert wrap(tmp_path / "images", tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert "none of the 1 pictures" in told and "a.png: unreadable" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images"]
