"""How a server's folder is laid out, and what is refused before anything starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bundle.label.models import PackagedModel
from bundle.label.server import ADDRESS, App, environment, free_port, lay_out, parser
from bundle.network import UNet
from bundle.weights import save_weights

SPOTS = """\
description: bright spots
channels: 3
reader: picture
labels: [spot]
size: 32
"""


@pytest.fixture
def place(tmp_path) -> Path:
    """A folder with ``photos``, ``other``, a modality of one's own and self-supervised weights of it."""
    for name in ("photos", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "spots.yaml").write_text(SPOTS)
    torch.manual_seed(0)
    save_weights(tmp_path / "ssl.pt", UNet(3, 2), {"modality": "spots", "size": 32}, parts=("encoder",))
    return tmp_path


def laid_out(place: Path, *options: str, studies: str = "photos") -> App:
    given = ["--studies", str(place / studies), "--modality", str(place / "spots.yaml"), "--out", str(place / "out")]
    return lay_out(parser().parse_args([*given, "--weights", str(place / "ssl.pt"), *options]))


def test_the_folder_is_an_app_with_the_model_and_the_code_it_runs_on_is_this_one(place, repository):
    app = laid_out(place, "--conf", "seed", "3")
    name = "coldstart_spots_segmentation"
    assert app.conf == {"models": name, "zoo_source": "local", "sam2": "false", "seed": "3"}
    assert "ColdStartApp" in (app.folder / "main.py").read_text()
    model = PackagedModel.load(app.folder / "model" / name)
    assert model.modality.labels == ("spot",) and Path(model.modality_setting).is_relative_to(app.folder)
    variables = environment(app.folder, app.search, "http://10.0.0.7:8000")
    assert variables[ADDRESS] == "http://10.0.0.7:8000"
    assert variables["PYTHONPATH"].startswith(str(repository)) and variables["TMPDIR"] == str(app.folder / "tmp")
    assert "*.dcm" in json.loads(variables["MONAI_LABEL_DATASTORE_FILE_EXT"])


def test_without_a_model_the_first_hour_has_a_stand_in_that_is_not_trained(place):
    app = laid_out(place)
    model = PackagedModel.load(app.folder / "model" / "coldstart_spots_segmentation")
    assert model.model.is_file() and not model.is_trained and not model.is_trained_here


def test_the_same_command_goes_on_with_the_model_that_was_trained(place):
    app = laid_out(place)
    model = PackagedModel.load(app.folder / "model" / "coldstart_spots_segmentation")
    save_weights(model.model, UNet(3, 2), {"modality": "spots", "size": 32})
    trained = model.model.read_bytes()
    laid_out(place)
    assert model.model.read_bytes() == trained and model.is_trained


def test_a_folder_of_other_studies_is_refused(place):
    laid_out(place)
    with pytest.raises(ValueError, match=r"belongs to a server of other studies.*give another --out"):
        laid_out(place, studies="other")


def test_a_modality_of_one_s_own_that_was_edited_is_another_one(place):
    app = laid_out(place)
    (place / "spots.yaml").write_text(SPOTS.replace("spot]", "naevus]"))
    with pytest.raises(ValueError, match=r"belongs to a server of other studies, modalities.*give another --out"):
        laid_out(place)
    assert PackagedModel.load(app.folder / "model" / "coldstart_spots_segmentation").modality.labels == ("spot",)
    (place / "spots.yaml").write_text(SPOTS)
    laid_out(place)


def test_two_modalities_of_one_name_are_refused(place):
    (place / "more").mkdir()
    (place / "more" / "spots.yaml").write_text(SPOTS.replace("spot]", "naevus]"))
    with pytest.raises(ValueError, match="each modality once, and files of different names"):
        laid_out(place, "--modality", str(place / "more" / "spots.yaml"))
    assert not (place / "out").exists()


@pytest.mark.parametrize(
    ("options", "studies", "message"),
    [
        ((), "absent", "must be a folder of images or an http address"),
        (("--conf", "strategy", "coldstrat"), "photos", "did you mean 'coldstart'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(place, options, studies, message):
    with pytest.raises(ValueError, match=message):
        laid_out(place, *options, studies=studies)
    assert not (place / "out").exists()


def test_a_free_port_can_be_listened_on():
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", free_port("127.0.0.1")))
