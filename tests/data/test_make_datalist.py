"""From a folder to a datalist: everything usable is listed once, everything else is named with its reason."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundle.commands import run_verb
from bundle.data.datalist import load_datalist

RNG = np.random.default_rng(0)
RAMP = np.arange(64, dtype=np.uint16).reshape(8, 8)


def draw(path: Path, size: tuple[int, int] = (8, 8), *, grey: bool = False) -> Path:
    """A picture of noise, different at each call; with ``grey`` a mask."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 2, size) * 255 if grey else RNG.integers(0, 256, (*size, 3))
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def make(tmp_path: Path, *options: object, modality: str = "dermoscopy", expect: int = 0):
    """Run the command on tmp_path/images; gives the datalist and {path: reason} of what was set aside."""
    out = tmp_path / "run" / "datalist.json"
    argv = ["--images", tmp_path / "images", "--modality", modality, "--out", out, *options]
    assert run_verb("make_datalist", [str(argument) for argument in argv]) == expect
    with (out.parent / "quarantine.csv").open(encoding="utf-8") as handle:
        reasons = {row["path"]: row["reason"] for row in csv.DictReader(handle)}
    return (load_datalist(out) if expect == 0 else None), reasons


def test_every_usable_image_is_listed_and_every_other_named(tmp_path):
    images = tmp_path / "images"
    good = draw(images / "a.png")
    draw(images / "deep" / "b.JPG")
    draw(images / "deep" / "c.tif")
    (images / "copy.png").write_bytes(good.read_bytes())
    draw(images / "deep" / "c.bmp")
    (images / "page.png").write_text("<html></html>")
    (images / "cut.jpg").write_bytes(draw(images / "d.jpg", (64, 64)).read_bytes()[:900])
    (images / "notes.txt").write_text("not an image and no claim to be one")
    draw(images / ".hidden.png")
    draw(images / ".hidden" / "e.png")
    datalist, reasons = make(tmp_path)
    assert datalist.ids("pool") == ["a", "d", "deep/b", "deep/c"]
    assert datalist.ids("training") == datalist.ids("validation") == datalist.ids("test") == []
    assert {path: reason.split(":")[0] for path, reason in reasons.items()} == {
        "copy.png": "duplicate",
        "page.png": "unreadable",
        "cut.jpg": "unreadable",
        "deep/c.tif": "same id",
    }
    assert reasons["copy.png"] == "duplicate: same bytes as a.png"


@pytest.mark.parametrize("ending", ["", "_mask", "_segmentation", "_seg", "_label"])
def test_masks_are_matched_by_path(tmp_path, ending):
    for name in ("a", "x/a", "x/b"):
        draw(tmp_path / "images" / f"{name}.jpg")
    for name in ("a", "x/b"):
        draw(tmp_path / "masks" / f"{name}{ending}.png", grey=True)
    datalist, reasons = make(tmp_path, "--masks", tmp_path / "masks")
    labels = {found["id"]: found.get("label") for found in datalist.section("pool")}
    assert labels == {
        "a": str(tmp_path / "masks" / f"a{ending}.png"),
        "x/a": None,
        "x/b": str(tmp_path / "masks" / "x" / f"b{ending}.png"),
    }
    assert datalist.ids("training") == ["a", "x/b"]
    assert reasons == {}


def test_a_bad_mask_is_set_aside_and_its_image_stays_without_label(tmp_path):
    for name in "abcd":
        draw(tmp_path / "images" / f"{name}.png")
    draw(tmp_path / "masks" / "a.png", grey=True)
    draw(tmp_path / "masks" / "b.png", (4, 9), grey=True)
    (tmp_path / "masks" / "c.png").write_bytes(b"")
    draw(tmp_path / "masks" / "d.jpg", grey=True)
    draw(tmp_path / "masks" / "e.png", grey=True)
    datalist, reasons = make(tmp_path, "--masks", tmp_path / "masks")
    assert datalist.ids("pool") == ["a", "b", "c", "d"]
    assert datalist.ids("training") == ["a"]
    assert {Path(path).name: reason.split(":")[0].split(";")[0] for path, reason in reasons.items()} == {
        "b.png": "mask of another size",
        "c.png": "unreadable mask",
        "d.jpg": "wrong mask",
        "e.png": "mask without an image",
    }
    assert "9 x 4, its image has 8 x 8" in reasons[str(tmp_path / "masks" / "b.png")]


def test_masks_beside_or_below_the_images_are_not_images(tmp_path):
    for name in "ab":
        draw(tmp_path / "images" / f"{name}.png")
        draw(tmp_path / "images" / f"{name}_mask.png", grey=True)
    datalist, _ = make(tmp_path, "--masks", tmp_path / "images")
    assert datalist.ids("pool") == datalist.ids("training") == ["a", "b"]
    for name in "ab":
        (tmp_path / "images" / "masks").mkdir(exist_ok=True)
        (tmp_path / "images" / f"{name}_mask.png").rename(tmp_path / "images" / "masks" / f"{name}.png")
    datalist, reasons = make(tmp_path, "--masks", tmp_path / "images" / "masks", "--overwrite")
    assert datalist.ids("pool") == datalist.ids("training") == ["a", "b"]
    assert reasons == {}


def test_a_link_out_of_the_root_is_set_aside(tmp_path):
    draw(tmp_path / "images" / "a.png")
    (tmp_path / "images" / "b.png").symlink_to(draw(tmp_path / "elsewhere.png"))
    datalist, reasons = make(tmp_path)
    assert datalist.ids("pool") == ["a"]
    assert reasons == {"b.png": "link that leaves the data root: copy the file itself (cp -L)"}


def test_a_picture_in_a_format_that_is_not_read_is_set_aside(tmp_path):
    draw(tmp_path / "images" / "a.png")
    (tmp_path / "images" / "b.WEBP").write_bytes(b"RIFF")
    _, reasons = make(tmp_path)
    assert reasons == {"b.WEBP": "format that is not read: convert it to PNG"}


def test_patients_of_a_rule_are_not_split(tmp_path):
    for patient in range(12):
        for view in range(3):
            draw(tmp_path / "images" / f"P{patient}_{view}.png")
            draw(tmp_path / "masks" / f"P{patient}_{view}.png", grey=True)
    datalist, _ = make(
        tmp_path, "--masks", tmp_path / "masks", "--test-fraction", 0.25, "--group", r"^(P\d+)_", "--seed", 3
    )
    sides = [{found["group"] for found in datalist.section(name)} for name in ("test", "validation", "training")]
    assert sides[0] | sides[1] | sides[2] == {f"P{patient}" for patient in range(12)}
    assert sum(map(len, sides)) == 12
    assert len(datalist.ids("test")) == 9


@pytest.mark.parametrize("rule", ["Q", "("])
def test_a_rule_that_fits_nothing_is_refused(tmp_path, rule, capsys):
    draw(tmp_path / "images" / "a.png")
    argv = ["--images", str(tmp_path / "images"), "--modality", "dermoscopy", "--out", str(tmp_path / "d.json")]
    assert run_verb("make_datalist", [*argv, "--group", rule]) == 2
    assert "--group" in capsys.readouterr().err


def test_dicom_is_found_by_content_under_pseudonyms(write_dicom, tmp_path):
    for number, name in enumerate(["images/IM0001", "images/x/1.2.840.113619", "images/y.dcm"]):
        write_dicom(RAMP + number, name=name, PatientID=f"MRN-{number // 2}")
    write_dicom(None, name="images/report.dcm", Modality="SR")
    draw(tmp_path / "masks" / "x" / "1.2.840.113619.png", grey=True)
    datalist, reasons = make(tmp_path, "--masks", tmp_path / "masks", modality="chest_xray")
    pool = datalist.section("pool")
    assert {Path(found["image"]).name for found in pool} == {"IM0001", "1.2.840.113619", "y.dcm"}
    assert len({found["group"] for found in pool}) == 2
    assert [Path(found["image"]).name for found in pool if "label" in found] == ["1.2.840.113619"]
    assert list(reasons) == ["report.dcm"]
    for path in (tmp_path / "run").iterdir():
        text = path.read_text()
        assert "MRN" not in text and "Doe" not in text and "1.2.826" not in text
    first = datalist.fingerprint()
    again, _ = make(tmp_path, "--masks", tmp_path / "masks", "--overwrite", modality="chest_xray")
    assert again.fingerprint() == first
    open_list, _ = make(tmp_path, "--keep-uids", "--overwrite", modality="chest_xray")
    assert {found["group"] for found in open_list.section("pool")} == {"MRN-0", "MRN-1"}


def test_output_is_not_replaced_unasked(tmp_path, capsys):
    draw(tmp_path / "images" / "a.png")
    make(tmp_path)
    before = (tmp_path / "run" / "datalist.json").read_text()
    draw(tmp_path / "images" / "b.png")
    make(tmp_path, expect=2)
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "run" / "datalist.json").read_text() == before


def test_nothing_readable_ends_with_an_error_and_the_reasons(tmp_path, capsys):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"")
    _, reasons = make(tmp_path, expect=2)
    assert reasons == {"a.png": "unreadable: the file is empty"}
    assert "no usable dermoscopy image" in capsys.readouterr().err


def test_the_last_line_is_the_path_and_the_record_lies_beside(tmp_path, capsys):
    for number in range(20):
        draw(tmp_path / "images" / f"{number}.png")
        draw(tmp_path / "masks" / f"{number}.png", grey=True)
    datalist, _ = make(tmp_path, "--masks", tmp_path / "masks", "--test-fraction", 0.2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == str(tmp_path / "run" / "datalist.json")
    assert any(line.startswith("test") and "20.0% of all images" in line for line in lines)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["results"]["sections"] == {"pool": 16, "training": 14, "validation": 2, "test": 4}
    assert record["fingerprints"]["datalist"] == datalist.fingerprint()


def test_help_answers_without_anything_heavy():
    code = (
        "import sys, bundle.commands as c\n"
        "try: c.run_verb('make_datalist', ['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'numpy', 'torch', 'monai', 'pydicom'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--split-csv" in done.stdout


@pytest.mark.real
def test_real_dicom_tree_is_listed_with_its_bad_files_named(real_data, tmp_path):
    out = tmp_path / "datalist.json"
    argv = ["--images", str(real_data / "dicom"), "--modality", "chest_xray", "--out", str(out)]
    assert run_verb("make_datalist", argv) == 0
    assert len(load_datalist(out).ids("pool")) == 14
    with (tmp_path / "quarantine.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 6  # five that cannot be read, and one with the SOPInstanceUID of another
    assert sum(row["reason"].startswith("same id") for row in rows) == 1


@pytest.mark.real
def test_real_split_has_the_size_of_the_paper(real_data, tmp_path):
    data, out = real_data / "chest_xray", tmp_path / "datalist.json"
    argv = ["--images", data / "images", "--masks", data / "masks", "--modality", "chest_xray", "--out", out]
    assert run_verb("make_datalist", [*map(str, argv), "--split-csv", str(data / "split.csv")]) == 0
    datalist = load_datalist(out)
    assert (len(datalist.ids("pool")), len(datalist.ids("test"))) == (563, 141)
    assert {found["site"] for found in datalist.section("test")} == {"montgomery", "shenzhen"}


def test_what_came_along_with_an_image_is_no_image(tmp_path):
    images = tmp_path / "images"
    for name in ("ISIC_1", "ISIC_1_superpixels", "ISIC_2", "ISIC_2_lesion", "lesion"):
        draw(images / f"{name}.png")
    draw(images / "roi" / "ISIC_2_mask.png", grey=True)
    datalist, reasons = make(tmp_path)
    assert datalist.ids("pool") == ["ISIC_1", "ISIC_2", "ISIC_2_lesion", "lesion"], "a name alone makes no mask"
    assert {path: reason.split(":")[0] for path, reason in reasons.items()} == {
        "ISIC_1_superpixels.png": "superpixels",
        "roi/ISIC_2_mask.png": "mask among the images",
    }


def test_a_preview_never_stands_beside_its_radiograph(write_dicom, tmp_path):
    draw(tmp_path / "images" / "one.png")
    draw(tmp_path / "images" / "two.png")
    write_dicom(RAMP, "images/one.dcm")
    datalist, reasons = make(tmp_path, modality="chest_xray")
    assert len(datalist.ids("pool")) == 2 and "two" in datalist.ids("pool") and "one" not in datalist.ids("pool")
    assert {path: reason.split(":")[0] for path, reason in reasons.items()} == {"one.png": "preview"}


def _dicoms(tmp_path, write_dicom, **told):
    """Radiographs below images/ by name, each with pixels of its own and these tags."""
    for number, (name, tags) in enumerate(told.items()):
        path = tmp_path / "images" / f"{name}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_dicom(RAMP + number, name=name, **tags).rename(path)


def _sides(datalist) -> dict[str, str]:
    """File's name to its section."""
    return {Path(e["image"]).name: s for s in ("pool", "test") for e in datalist.section(s)}


def test_one_study_is_one_group_where_only_some_of_its_images_tell_the_patient(write_dicom, tmp_path):
    studies = {
        f"{kind}{number}": {"PatientID": f"P{number}" if kind == "a" else "", "StudyInstanceUID": f"1.2.{number}"}
        for number in range(6)
        for kind in "ab"
    }
    _dicoms(tmp_path, write_dicom, **studies)
    datalist, _ = make(tmp_path, "--test-fraction", 0.4, modality="chest_xray")
    sides = _sides(datalist)
    assert set(sides.values()) == {"pool", "test"}
    assert all(sides[f"a{number}.dcm"] == sides[f"b{number}.dcm"] for number in range(6))


def test_what_a_rule_does_not_fit_stays_with_its_patient(write_dicom, tmp_path):
    fits = {f"P0{number}_1": {"PatientID": f"X{number}"} for number in range(4)}
    _dicoms(tmp_path, write_dicom, **fits, **{f"IM{number}": {"PatientID": f"X{number}"} for number in range(4)})
    datalist, _ = make(tmp_path, "--group", "(P[0-9]+)_", modality="chest_xray")
    groups = {Path(e["image"]).stem: e["group"] for e in datalist.section("pool")}
    assert len(set(groups.values())) == 4
    assert all(groups[f"P0{number}_1"] == groups[f"IM{number}"] for number in range(4))


def test_a_table_that_groups_some_images_of_a_patient_may_not_part_the_others(write_dicom, tmp_path, capsys):
    _dicoms(tmp_path, write_dicom, **{name: {"PatientID": name[:2]} for name in ("p0a", "p0b", "p1a", "p2a")})
    table = tmp_path / "split.csv"
    table.write_text("id,split,group\np0a,test,lesion\np1a,pool,\n")
    argv = ["--images", tmp_path / "images", "--modality", "chest_xray", "--out", tmp_path / "o.json"]
    assert run_verb("make_datalist", [str(a) for a in (*argv, "--split-csv", table)]) == 2
    assert "on two sides" in capsys.readouterr().err


def test_a_table_may_name_either_of_two_files_with_the_same_bytes(tmp_path):
    for name in "abc":
        draw(tmp_path / "images" / f"{name}.png")
    (tmp_path / "images" / "z.png").write_bytes((tmp_path / "images" / "a.png").read_bytes())
    (tmp_path / "split.csv").write_text("id,split\nz,test\n")
    datalist, _ = make(tmp_path, "--split-csv", tmp_path / "split.csv")
    assert datalist.ids("test") == ["a"]
    (tmp_path / "split.csv").write_text("id,split\nz,test\na,pool\n")
    argv = ["--images", tmp_path / "images", "--modality", "dermoscopy", "--out", tmp_path / "o.json"]
    assert run_verb("make_datalist", [str(a) for a in (*argv, "--split-csv", tmp_path / "split.csv")]) == 2


@pytest.mark.parametrize("text", ['id,split\na,"test\n' + "row,pool\n" * 20000, None])
def test_a_split_table_that_cannot_be_read_is_named(tmp_path, capsys, text):
    draw(tmp_path / "images" / "a.png")
    table = tmp_path / "split.csv"
    if text is not None:
        table.write_text(text)
    argv = ["--images", tmp_path / "images", "--modality", "dermoscopy", "--out", tmp_path / "o.json"]
    assert run_verb("make_datalist", [str(a) for a in (*argv, "--split-csv", table)]) == 2
    assert "split.csv" in capsys.readouterr().err


def test_a_mask_is_no_image_wherever_it_lies(tmp_path):
    import nibabel

    images = tmp_path / "images"
    for name in ("a", "b"):
        draw(images / "pictures" / f"{name}.png", (32, 32))
    draw(images / "lung masks" / "a.png", (32, 32), grey=True)
    draw(images / "rois" / "b_R1_Label3.bmp", (32, 32), grey=True)
    deep = np.zeros((32, 32), dtype=np.uint16)
    deep[4:20] = 65535
    Image.fromarray(deep).save(images / "pictures" / "a_mask.png")
    nibabel.save(nibabel.Nifti1Image((deep > 0).astype(np.uint8), np.eye(4)), images / "pictures" / "b.nii.gz")
    datalist, reasons = make(tmp_path, modality="chest_xray")
    assert datalist.ids("pool") == ["pictures/a", "pictures/b"]
    assert {Path(e["image"]).suffix for e in datalist.section("pool")} == {".png"}
    assert set(reasons) == {"lung masks/a.png", "rois/b_R1_Label3.bmp", "pictures/a_mask.png", "pictures/b.nii.gz"}
    assert all(reason.startswith("mask among the images") for reason in reasons.values())
