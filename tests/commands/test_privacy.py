"""A name in every text tag of a DICOM export is in nothing that the pipeline writes or says."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom import config as pydicom_config
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset

from bundle.benchmark.drill import run_apart
from bundle.commands import run_verb
from tests.data.conftest import make_dicom

NAME, BIRTH, NUMBER = "ZZQXNAME", "19431207", "98765432"
SECRETS = [text.encode() for text in (NAME, BIRTH, NUMBER)]
# Value representations of PS3.5 6.2 and what is planted in tags of each.
PLANTED = {
    **dict.fromkeys(("AE", "CS", "LO", "LT", "SH", "ST", "UC", "UR", "UT"), NAME),
    **{"PN": f"{NAME}^{NAME}", "AS": "082Y", "DA": BIRTH, "TM": "101112", "DT": BIRTH, "UI": f"1.2.826.0.1.{NUMBER}"},
}
# What an image needs to be one.
KEPT = {
    *("SpecificCharacterSet", "Modality", "PhotometricInterpretation", "PresentationLUTShape", "SOPClassUID"),
    *("VOILUTFunction", "SOPInstanceUID", "PatientID", "StudyInstanceUID", "LossyImageCompression"),
}
CHEST = """\
description: drawn chests
channels: 1
reader: radiograph
labels: [lung]
size: 32
"""
RUN = ("make_datalist", "pretrain", "embed", "select_samples", "train", "evaluate", "infer", "report")


def planted(number: int) -> dict[str, object]:
    """Every standard tag that holds text, and a sequence with some again, with what nobody may learn."""
    inner = Dataset()
    inner.PatientName, inner.InstitutionName = f"{NAME}^{NAME}", NAME
    tags: dict[str, object] = {
        keyword: PLANTED[vr]
        for tag, (vr, _, _, _, keyword) in DicomDictionary.items()
        if vr in PLANTED and keyword and keyword not in KEPT and 0x0008 <= tag >> 16 < 0x6000
    }
    return tags | {
        "SOPInstanceUID": f"1.2.826.0.1.{NUMBER}.{number}",
        "StudyInstanceUID": f"1.2.826.0.2.{NUMBER}.{number // 2}",
        "PatientID": f"{NUMBER}-{number // 2}",
        "RequestAttributesSequence": [inner],
    }


@pytest.fixture(scope="module")
def export(tmp_path_factory) -> Path:
    """16 images of 8 patients with masks, and five files that something is wrong with, all full of names."""
    root = tmp_path_factory.mktemp("export")
    (root / "chest.yaml").write_text(CHEST)
    rng = np.random.default_rng(0)
    pydicom_config.settings.writing_validation_mode = pydicom_config.IGNORE
    for number in range(16):
        pixels = rng.integers(0, 4096, (36, 40), dtype=np.uint16)
        make_dicom(root / "images" / f"IM{number:04d}", pixels, **planted(number))
        (root / "masks").mkdir(exist_ok=True)
        Image.fromarray((pixels > 2048).astype(np.uint8)).save(root / "masks" / f"IM{number:04d}.png")
    whole = (root / "images" / "IM0000").read_bytes()
    bad = root / "images"
    (bad / "cut.dcm").write_bytes(whole[:-2000])
    (bad / "header_alone.dcm").write_bytes(whole[:20_000])
    make_dicom(bad / "report.dcm", None, **(planted(20) | {"Modality": "SR"}))
    # A name where a number or a date must be makes libraries quote it.
    window = make_dicom(bad / "window.dcm", pixels, **planted(21), WindowCenter="12345678", WindowWidth="12345678")
    window.write_bytes(window.read_bytes().replace(b"12345678", NAME.encode()))
    date = make_dicom(bad / "date.dcm", pixels, **planted(22))
    date.write_bytes(date.read_bytes().replace(BIRTH.encode(), NAME.encode()))
    return root


@pytest.fixture(scope="module")
def hospital_run(export) -> Path:
    """Everything that the pipeline makes of the export, with what each stage says on stdout and stderr."""
    run = export / "run"
    run.mkdir()
    datalist = ["--datalist", str(run / "datalist.json")]
    images = ["--images", str(export / "images"), "--modality", str(export / "chest.yaml")]
    masks = ["--masks", str(export / "masks"), "--test-fraction", "0.25", "--out", str(run / "datalist.json")]
    ssl, model = str(run / "pretrain" / "model_ssl_pretrained.pt"), ["--model", str(run / "train" / "model.pt")]
    short = ["--set", "epochs=1", "--set", "batch_size=4"]
    words = {
        "make_datalist": [*images, *masks],
        "pretrain": [*datalist, *short, "--set", "warmup=0", "--out", str(run / "pretrain")],
        "embed": [*datalist, "--weights", ssl, "--out", str(run / "embeddings")],
        "select_samples": [*datalist, "--embeddings", str(run / "embeddings"), "--budget", "4"],
        "train": [*datalist, "--ssl-weights", ssl, *short, "--set", "epoch_length=2", "--out", str(run / "train")],
        "evaluate": [*datalist, *model, "--out", str(run / "train" / "evaluation")],
        "infer": [*images, *model, "--out", str(run / "predictions")],
        "report": ["--run", str(run)],
    }
    words["select_samples"] += ["--out", str(run / "selection")]
    for verb in RUN:
        log = run / f"{verb}.log"
        assert run_apart(verb, words[verb], log=log) == 0, log.read_text()
    return run


def layers(content: bytes) -> Iterator[bytes]:
    """A file's bytes, and those packed in it: gzip, zip (weight files), text of PNG, pictures in HTML."""
    yield content
    if content[:2] == b"\x1f\x8b":
        yield gzip.decompress(content)
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield name.encode()
                yield archive.read(name)
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        yield repr(Image.open(io.BytesIO(content)).info).encode()
    for found in re.findall(rb"base64,([A-Za-z0-9+/=]+)", content):
        yield from layers(base64.b64decode(found))


def leaks(folder: Path) -> list[str]:
    """Files below ``folder`` that hold a secret, or have one in their name."""
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file()
        and any(s in layer for layer in (str(path).encode(), *layers(path.read_bytes())) for s in SECRETS)
    ]


def test_no_name_date_or_number_of_a_patient_is_in_any_output_log_or_file_name(export, hospital_run):
    assert len(list(hospital_run.rglob("*"))) > 40
    assert leaks(hospital_run) == []
    assert len(leaks(export / "images")) == 21, "each file that went in is full of them"


def test_what_is_wrong_with_a_file_is_told_without_its_tags(hospital_run):
    told = (hospital_run / "quarantine.csv").read_text()
    assert {name for name in ("cut.dcm", "header_alone.dcm", "report.dcm") if name in told} == {
        *("cut.dcm", "header_alone.dcm", "report.dcm")
    }


def test_the_search_looks_into_every_kind_of_file(tmp_path):
    text = PngInfo()
    text.add_text("Comment", NAME, zip=True)
    Image.new("L", (4, 4)).save(tmp_path / "a.png", pnginfo=text)
    picture = base64.b64encode((tmp_path / "a.png").read_bytes()).decode()
    (tmp_path / "b.html").write_text(f'<img src="data:image/png;base64,{picture}">')
    (tmp_path / "c.nii.gz").write_bytes(gzip.compress(BIRTH.encode()))
    with zipfile.ZipFile(tmp_path / "d.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.pkl", NUMBER)
    (tmp_path / f"{NAME}.txt").write_text("")
    (tmp_path / "clean.txt").write_text("nothing")
    assert sorted(leaks(tmp_path)) == sorted(["a.png", "b.html", "c.nii.gz", "d.pt", f"{NAME}.txt"])


def test_ids_and_groups_are_hashes_under_a_key_that_its_owner_alone_may_read(hospital_run):
    content = json.loads((hospital_run / "datalist.json").read_text())
    entries = [*content["pool"], *content["test"]]
    assert all(re.fullmatch(r"[0-9a-f]{20}", entry[name]) for entry in entries for name in ("id", "group"))
    assert len({entry["group"] for entry in entries}) >= 8
    assert (hospital_run / "identity.key").stat().st_mode & 0o777 == 0o600


def test_a_file_name_that_is_markup_is_text_in_the_report(stocked, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    name = '"><img src=x onerror=alert(1)><script>alert(2)<'
    for number, file in enumerate(sorted(stocked.images.iterdir())[:10]):
        (images / f"{name}{number}.png").write_bytes(file.read_bytes())
    run = tmp_path / "run"
    words = ["--images", str(images), "--modality", str(stocked.modality), "--out", str(run / "datalist.json")]
    assert run_verb("make_datalist", words) == 0
    datalist = ["--datalist", str(run / "datalist.json")]
    ssl = str(stocked.root / "pretrain" / "model_ssl_pretrained.pt")
    assert run_verb("embed", [*datalist, "--weights", ssl, "--out", str(run / "embeddings")]) == 0
    select = [*datalist, "--embeddings", str(run / "embeddings"), "--budget", "3", "--out", str(run / "selection")]
    assert run_verb("select_samples", [*select, "--strategy", "kmeans"]) == 0
    assert run_verb("report", ["--run", str(run)]) == 0
    for page in (run / "report.html", run / "selection" / "report.html"):
        text = page.read_text(encoding="utf-8")
        assert "<script" not in text and "<img src=x" not in text and "onerror=alert(1)&gt;" in text


@pytest.mark.parametrize("path", ["../outside.png", "/outside.png", "inside/../../outside.png", "link/outside.png"])
@pytest.mark.parametrize("key", ["image", "label"])
def test_an_entry_of_a_datalist_cannot_leave_its_root(stocked, tmp_path, path, key, capsys):
    (tmp_path / "outside.png").write_bytes((stocked.images / "spot_00.png").read_bytes())
    for root in ("images", "masks"):
        (tmp_path / root).mkdir()
        (tmp_path / root / "link").symlink_to(tmp_path)
        (tmp_path / root / "in.png").write_bytes((stocked.root / root / "spot_00.png").read_bytes())
    entry = {"id": "a", "image": "in.png", "label": "in.png"} | {key: path}
    content = {"modality": str(stocked.modality), "root": "images", "label_root": "masks", "test": [entry]}
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    words = ["--datalist", str(tmp_path / "datalist.json"), "--model", str(stocked.root / "train" / "model.pt")]
    assert run_verb("evaluate", [*words, "--out", str(tmp_path / "out")]) == 2
    assert "root" in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "out" / "per_image.csv").exists()
