"""One server for a folder of drawn dermoscopy images: what annotators get, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from bundle.data.demo import make_demo

from .conftest import MODEL, Server, uploads_left

pytestmark = pytest.mark.label
COUNT = 12


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """``images`` and ``masks``; the last four are kept back for later."""
    return make_demo(tmp_path_factory.mktemp("drawn") / "demo", count=COUNT + 4, size=64)


@pytest.fixture(scope="module")
def studies(demo, tmp_path_factory) -> Path:
    """JPEG, PNG, a subfolder, and a file that only claims to be an image."""
    folder = tmp_path_factory.mktemp("studies")
    (folder / "clinic b").mkdir()
    for i, image in enumerate(sorted((demo / "images").iterdir())[:COUNT]):
        if i % 3 == 0:
            shutil.copy(image, folder / image.name)
        elif i % 3 == 1:
            Image.open(image).save(folder / f"{image.stem}.png")
        else:
            shutil.copy(image, folder / "clinic b" / image.name)
    (folder / "broken.jpg").write_bytes(b"this is no picture")
    return folder


@pytest.fixture(scope="module")
def server(start_server, studies, tmp_path_factory) -> Server:
    started = start_server(
        studies, tmp_path_factory.mktemp("label") / "out", "--modality", "dermoscopy", "--conf", "lease_minutes", "600"
    )
    started.wait_for_ranking(COUNT)
    return started


@pytest.fixture
def fresh(start_server, studies, tmp_path) -> Iterator[Server]:
    """A server of its own, for what leaves traces."""
    shutil.copytree(studies, tmp_path / "studies")
    started = start_server(tmp_path / "studies", tmp_path / "out", "--modality", "dermoscopy")
    started.wait_for_ranking(COUNT)
    yield started
    started.stop()


def stem_of(image: str) -> str:
    return image.rsplit("/", 1)[-1]


def true_mask(demo: Path, image: str) -> Path:
    return demo / "masks" / f"{stem_of(image)}.png"


def png(pixels: np.ndarray, folder: Path, name: str = "mask.png") -> Path:
    Image.fromarray(pixels).save(folder / name)
    return folder / name


def test_the_server_tells_its_model_strategies_and_scoring(server):
    told = server.get("/info/").json
    assert told["models"][MODEL]["labels"] == {"lesion": 1} and told["models"][MODEL]["type"] == "segmentation"
    assert list(told["strategies"]) == ["coldstart", "uncertainty", "random", "first"]
    assert set(told["scoring"]) == {"coldstart", "uncertainty"} and set(told["trainers"]) == {MODEL}
    assert told["datastore"]["total"] == COUNT + 1


def test_the_ranking_is_the_selection_of_the_command_line(server, run_cli, tmp_path, repository):
    ssl = repository / "models" / "model_ssl_pretrained.pt"
    (server.studies / "labels" / "final").mkdir(parents=True, exist_ok=True)
    run_cli("make_datalist", "--images", server.studies, "--modality", "dermoscopy", "--out", tmp_path / "list.json")
    run_cli(
        *("select_samples", "--datalist", tmp_path / "list.json", "--weights", ssl, "--budget", COUNT - 1),
        *("--out", tmp_path / "selection"),
    )
    with (tmp_path / "selection" / "selection.csv").open(newline="") as handle:
        assert [row["id"] for row in csv.DictReader(handle)] == server.ranking()[: COUNT - 1]


def test_an_unreadable_image_is_set_aside_by_name_and_never_served(server):
    with (server.out / "ranking" / "quarantine.csv").open(newline="") as handle:
        assert [row["path"] for row in csv.DictReader(handle)] == ["broken"]
    for strategy in ("coldstart", "first", "random", "uncertainty"):
        served = [server.next_sample(strategy, client_id=f"reader of {strategy}") for _ in range(2)]
        assert "broken" not in [sample["id"] for sample in served]


def test_two_annotators_share_the_ranking_until_it_is_exhausted(fresh, demo):
    ranking = fresh.ranking()
    first = fresh.next_sample(client_id="a")
    assert first["id"] == ranking[0] and first["rank"] == 1 and first["reason"]
    served = [fresh.next_sample(client_id=who)["id"] for who in ("b", "a", "b", "a", "b")]
    assert served == ranking[1:6]
    assert fresh.label(ranking[0], true_mask(demo, ranking[0])).status == 200
    assert fresh.next_sample(client_id="a", skip=ranking[1])["id"] == ranking[6]
    for image in ranking[2:]:
        assert fresh.label(image, true_mask(demo, image)).status == 200
    for strategy in ("coldstart", "uncertainty", "random", "first"):
        assert fresh.next_sample(strategy, client_id="a") == {}
    labelled = sorted(path.stem for path in (fresh.studies / "labels" / "final").rglob("*.png"))
    assert labelled == sorted(stem_of(image) for image in ranking if image != ranking[1])


def test_images_that_arrive_later_are_ranked_after_the_others(fresh, demo):
    before = fresh.ranking()
    *late, upload = sorted((demo / "images").iterdir())[COUNT:]
    for image in late:
        shutil.copy(image, fresh.studies / image.name)
    answer = fresh.send("PUT", "/datastore/image", {"file": (upload.name, upload.read_bytes())}, image="clinic c/late")
    assert answer.status == 200
    assert (fresh.studies / "clinic c" / "late.jpg").read_bytes() == upload.read_bytes()
    served = fresh.next_sample(client_id="a")["id"]  # finds them, and has them ranked in the background
    assert served == before[0]
    after = fresh.wait_for_ranking(COUNT + len(late) + 1)
    assert after[:COUNT] == before and set(after[COUNT:]) == {*(image.stem for image in late), "clinic c/late"}


def test_the_other_strategies_serve_as_they_say(server):
    ranking = server.ranking()
    assert server.next_sample("first", client_id="f")["id"] in sorted(ranking)[:6]
    drawn = [server.next_sample("random", client_id="r")["id"] for _ in range(2)]
    assert len(set(drawn)) == 2 and set(drawn) <= set(ranking)
    scores = server.out / "ranking" / "uncertainty.json"
    server.wait_for(scores.is_file, "the scores")  # the shipped model is trained, so they are made at the start
    told = json.loads(scores.read_text())["scores"]
    assert set(told) == set(ranking) and all(0 <= score <= 2 for score in told.values())


def test_a_prediction_is_the_command_line_s_pixel_for_pixel(server, run_cli, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    names = ["img_0000.jpg", "img_0001.png"]
    for name in names:
        shutil.copy(server.studies / name, images / name)
    run_cli("infer", "--images", images, "--modality", "dermoscopy", "--out", tmp_path / "masks")
    for name in names:
        wanted = np.asarray(Image.open(tmp_path / "masks" / f"{Path(name).stem}.png")) // 255
        assert wanted.any()
        for answer in (server.infer(image=Path(name).stem), server.infer(file=images / name)):
            assert answer.status == 200, answer.body
            (tmp_path / "answer.png").write_bytes(answer.body)
            np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "answer.png")), wanted)


def test_a_viewer_s_format_is_given_where_it_is_asked_for(server, tmp_path):
    shown = np.asarray(Image.open(server.studies / "img_0001.png"))
    for suffix in (".nii.gz", ".nrrd"):
        answer = server.infer(image="img_0001", result_extension=suffix)
        assert answer.status == 200
        (tmp_path / f"mask{suffix}").write_bytes(answer.body)
    assert nibabel.load(tmp_path / "mask.nii.gz").shape[:2] == (shown.shape[1], shown.shape[0])


@pytest.mark.parametrize(
    ("what", "status"),
    [
        ("another size", 422),
        ("empty", 400),
        ("no image", 422),
        ("a JPEG", 422),
        ("without a suffix", 422),
        ("of an unknown image", 404),
        ("under a tag that leaves the folder", 400),
    ],
)
def test_a_bad_label_is_refused_and_changes_nothing(server, tmp_path, what, status):
    image, query = server.ranking()[-1], {}
    file = next(path for path in server.studies.rglob("*") if path.stem == stem_of(image))
    width, height = Image.open(file).size
    mask = png(np.zeros((height, width), np.uint8), tmp_path)
    if what == "another size":
        mask = png(np.zeros((height, width + 1), np.uint8), tmp_path)
    elif what == "empty":
        mask.write_bytes(b"")
    elif what == "no image":
        mask.write_bytes(b"label " * 50)
    elif what == "a JPEG":
        mask = png(np.zeros((height, width), np.uint8), tmp_path, "mask.jpg")
    elif what == "without a suffix":
        mask = mask.rename(tmp_path / "mask")
    elif what == "of an unknown image":
        image = "../img_0000"
    else:
        query = {"tag": "../../final"}
    before = server.account()
    answer = server.send("PUT", "/datastore/label", {"label": (mask.name, mask.read_bytes())}, image=image, **query)
    assert answer.status == status and answer.json["detail"], answer.body
    assert server.account() == before


@pytest.mark.parametrize(
    ("image", "content", "status"),
    [
        ("new", b"", 400),
        ("new", b"no picture", 422),
        ("img_0000", None, 409),
        ("../outside", None, 400),
        ("labels/final/x", None, 400),
    ],
)
def test_a_bad_image_is_refused_and_changes_nothing(server, image, content, status):
    content = (server.studies / "img_0000.jpg").read_bytes() if content is None else content
    before = server.account()
    answer = server.send("PUT", "/datastore/image", {"file": ("new.jpg", content)}, image=image)
    assert answer.status == status and answer.json["detail"], answer.body
    assert server.account() == before


def test_an_image_is_not_removed_over_the_network(server):
    before = server.account()
    assert server.delete("/datastore/image", id="img_0000").status == 403
    assert server.account() == before


def test_a_bad_inference_is_refused(server, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    assert server.infer(file=tmp_path / "a.png").status == 422
    assert server.infer(image="broken").status == 422
    assert server.infer(image="unknown").status == 404
    assert server.infer(image="/etc/hostname").status == 404
    assert server.infer("unknown", image="img_0000").status == 404
    assert server.infer(image="img_0000", model_filename="../../../secret.pt").status == 400
    assert server.post("/activelearning/unknown").status == 404
    assert uploads_left(server) == []


def test_an_nrrd_label_of_3d_slicer_is_kept_as_nifti(server, tmp_path, label_python):
    width, height = Image.open(server.studies / "img_0001.png").size
    code = f"""
import numpy, nrrd
mask = numpy.zeros(({width}, {height}, 1), numpy.uint8)
mask[5:20, 3:9] = 1
nrrd.write({str(tmp_path / "mask.nrrd")!r}, mask, {{"space": "left-posterior-superior",
    "space directions": numpy.eye(3), "space origin": numpy.zeros(3), "kinds": ["domain"] * 3}})
"""
    subprocess.run([str(label_python), "-c", code], check=True)
    assert server.label("img_0001", tmp_path / "mask.nrrd").status == 200
    kept = server.studies / "labels" / "final" / "img_0001.nii.gz"
    values = np.asarray(nibabel.load(kept).dataobj)
    assert values.shape == (width, height, 1) and values[5:20, 3:9].all() and values.sum() == 15 * 6
    assert server.get("/datastore/").json["completed"] == 1
    corrected = png(np.full((height, width), 255, np.uint8), tmp_path)
    assert server.label("img_0001", corrected).status == 200
    assert not kept.exists() and server.get("/datastore/").json["completed"] == 1
    assert server.delete("/datastore/label", id="img_0001", tag="final").status == 200
    assert server.get("/datastore/").json["completed"] == 0
