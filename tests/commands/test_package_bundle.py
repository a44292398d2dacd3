"""A package is a MONAI bundle of one modality that runs from anywhere by itself."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ckpt_export, verify_metadata, verify_net_in_out
from PIL import Image

from bundle.commands import run_verb
from bundle.data.modality import load_modality
from bundle.network import UNet
from bundle.weights import save_weights

SCHEMA = "meta_schema_20240725.json"


def make_package(root: Path, modality: str) -> Path:
    """A package of ``modality`` with weights drawn at random."""
    kind = load_modality(modality)
    torch.manual_seed(0)
    network = UNet(kind.channels, kind.classes)
    settings = {"modality": kind.name, "size": kind.size}
    model = save_weights(root / f"{kind.name}.pt", network, settings, half=True)
    ssl = save_weights(root / f"{kind.name}_ssl.pt", network, settings, parts=("encoder",), half=True)
    arguments = ["--modality", modality, "--out", str(root / "packages"), "--model", str(model)]
    assert run_verb("package_bundle", [*arguments, "--ssl-weights", str(ssl)]) == 0
    return root / "packages" / f"coldstart_{kind.name}_segmentation"


@pytest.fixture(scope="module", params=["dermoscopy", "chest_xray"])
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_package(tmp_path_factory.mktemp("package"), request.param)


def modality_of(package: Path) -> str:
    return package.name.removeprefix("coldstart_").removesuffix("_segmentation")


def test_holds_what_a_bundle_needs_and_nothing_of_the_workshop(package):
    assert {"configs", "models", "docs", "bundle", "LICENSE"} <= {path.name for path in package.iterdir()}
    assert {"model.pt", "model_ssl_pretrained.pt"} <= {path.name for path in (package / "models").iterdir()}
    assert not list(package.rglob("__pycache__")) and not list(package.rglob(".*"))


def test_every_config_has_the_modality_as_its_one_knob(package, repository):
    for config in (package / "configs").glob("*.yaml"):
        own = yaml.safe_load(config.read_text())
        original = yaml.safe_load((repository / "configs" / config.name).read_text())
        assert own.pop("modality", None) == (modality_of(package) if original.pop("modality", None) else None)
        assert own == original


def test_the_metadata_tells_the_modality(package):
    metadata = json.loads((package / "configs" / "metadata.json").read_text())
    modality = load_modality(modality_of(package))
    image, pred = (
        metadata["network_data_format"][side][key] for side, key in (("inputs", "image"), ("outputs", "pred"))
    )
    assert image["num_channels"] == modality.channels and image["spatial_shape"] == [modality.size] * 2
    assert pred["channel_def"] == {"0": "background", "1": modality.labels[0]}
    assert metadata["version"] in metadata["changelog"]
    assert modality.name in metadata["name"]


@pytest.mark.real
def test_the_metadata_follow_monai_s_schema(package, real_data, tmp_path, monkeypatch):
    shutil.copy(real_data / "schema" / SCHEMA, tmp_path / SCHEMA)
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the schema is here already"))
    verify_metadata(meta_file=str(package / "configs" / "metadata.json"), filepath=str(tmp_path / SCHEMA))


def test_the_network_takes_and_gives_what_the_metadata_say(package):
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(package / "configs" / "metadata.json"),
        config_file=str(package / "configs" / "inference.yaml"),
        device="cpu",
    )


def test_the_network_is_exported_to_torchscript_and_computes_the_same(package, tmp_path):
    exported = tmp_path / "model.ts"
    ckpt_export(
        net_id="network_def",
        filepath=str(exported),
        ckpt_file=str(package / "models" / "model.pt"),
        meta_file=str(package / "configs" / "metadata.json"),
        config_file=str(package / "configs" / "inference.yaml"),
        key_in_ckpt="model",
        bundle_root=str(package),
    )
    modality = load_modality(modality_of(package))
    network = UNet(modality.channels, modality.classes).eval()
    network.load_state_dict(torch.load(package / "models" / "model.pt", weights_only=True)["model"])
    images = torch.rand(1, modality.channels, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.load(exported).eval()(images), network(images), atol=1e-4, rtol=1e-3)


def test_infers_from_a_foreign_folder_with_its_own_code(package, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)).convert(
        "RGB" if modality_of(package) == "dermoscopy" else "L"
    ).save(images / "a.png")
    mark = package / "bundle" / "segmentation" / "prediction.py"
    mark.write_text(mark.read_text().replace('"predictions.csv"', '"of_the_package.csv"'))  # whose code runs shows
    command = [
        *(sys.executable, "-m", "monai.bundle", "run"),
        *("--config_file", str(package / "configs" / "inference.yaml")),
        *("--meta_file", str(package / "configs" / "metadata.json")),
        *("--bundle_root", str(package), "--dataset_dir", str(images), "--output_dir", str(tmp_path / "masks")),
    ]
    environment = os.environ | {"PYTHONPATH": str(package)}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    with (tmp_path / "masks" / "of_the_package.csv").open(newline="", encoding="utf-8") as handle:
        assert [row["id"] for row in csv.DictReader(handle)] == ["a"]
    assert Image.open(tmp_path / "masks" / "a.png").size == (70, 50)


def test_a_package_of_one_s_own_modality_brings_it_along(hospital, trained, pretrained, tmp_path):
    weights = ["--model", str(trained / "model.pt"), "--ssl-weights", str(pretrained / "model_ssl_pretrained.pt")]
    arguments = ["--modality", str(hospital.modality), "--out", str(tmp_path), *weights]
    assert run_verb("package_bundle", arguments) == 0
    package = tmp_path / "coldstart_spots_segmentation"
    assert load_modality(package / "bundle" / "data" / "modalities" / "spots.yaml").labels == ("spot",)
    assert yaml.safe_load((package / "configs" / "inference.yaml").read_text())["modality"] == "spots"
    assert run_verb("package_bundle", arguments) == 2, "a package that is there is kept"
    assert run_verb("package_bundle", [*arguments, "--overwrite"]) == 0


def test_weights_of_another_modality_are_not_packaged(trained, pretrained, tmp_path, capsys):
    arguments = ["--modality", "chest_xray", "--out", str(tmp_path), "--model", str(trained / "model.pt")]
    arguments += ["--ssl-weights", str(pretrained / "model_ssl_pretrained.pt")]
    assert run_verb("package_bundle", arguments) == 2
    assert "modality is 'spots', not 'chest_xray'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_weights_of_other_labels_are_not_packaged(hospital, trained, pretrained, tmp_path, capsys):
    told = yaml.safe_load(hospital.modality.read_text())
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / hospital.modality.name
    other.write_text(yaml.safe_dump({**told, "labels": ["stain"]}))
    arguments = ["--modality", str(other), "--out", str(tmp_path / "out"), "--model", str(trained / "model.pt")]
    arguments += ["--ssl-weights", str(pretrained / "model_ssl_pretrained.pt")]
    assert run_verb("package_bundle", arguments) == 2
    assert "labels is ['spot'], not ['stain']" in capsys.readouterr().err
