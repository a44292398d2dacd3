"""The weights that ship load without a flag, say what they are for, and segment real images."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bundle.commands import run_verb
from bundle.data.modality import available_modalities, load_modality
from bundle.network import UNet
from bundle.segmentation.metrics import score_image
from bundle.weights import load_weights, shipped_weights


@pytest.mark.parametrize("modality", available_modalities())
@pytest.mark.parametrize("kind", ["model", "model_ssl_pretrained"])
def test_each_is_small_and_carries_its_modality(modality: str, kind: str) -> None:
    path = shipped_weights(kind, modality)
    assert path is not None and path.stat().st_size <= 10 * 2**20
    settings = load_weights(path).settings
    assert settings["modality"] == modality
    if kind == "model":  # else a modality of the same name and other labels would take them for its own
        assert settings["labels"] == list(load_modality(modality).labels)


@pytest.mark.parametrize("modality", available_modalities())
def test_fine_tuned_weights_fill_the_network_and_pretrained_ones_its_encoder(modality: str) -> None:
    spec = load_modality(modality)
    network = UNet(spec.channels, spec.classes)
    model, pretrained = (shipped_weights(kind, modality) for kind in ("model", "model_ssl_pretrained"))
    assert model is not None and pretrained is not None
    network.load_state_dict(load_weights(model).model)
    encoder = {name for name in network.state_dict() if name.startswith("encoder.")}
    coarse = tuple(f"{block}." for block in network.coarse_decoder)
    found = set(load_weights(pretrained).model)
    assert encoder <= found and all(name.startswith(coarse) for name in found - encoder)


@pytest.mark.real
@pytest.mark.parametrize(("modality", "floor"), [("dermoscopy", 0.75), ("chest_xray", 0.9)])
def test_they_segment_test_images_that_they_never_saw(
    real_data: Path, tmp_path: Path, modality: str, floor: float
) -> None:
    with (real_data / modality / "split.csv").open(encoding="utf-8") as handle:
        ids = [row["id"] for row in csv.DictReader(handle) if row["split"] == "test"][:24]
    (tmp_path / "images").mkdir()
    for identifier in ids:
        source = next((real_data / modality / "images").glob(f"{identifier}.*"))
        (tmp_path / "images" / source.name).write_bytes(source.read_bytes())
    arguments = ["--images", str(tmp_path / "images"), "--modality", modality, "--out", str(tmp_path / "masks")]
    assert run_verb("infer", arguments) == 0
    scores = []
    for identifier in ids:
        masks = [real_data / modality / "masks" / f"{identifier}.png", tmp_path / "masks" / f"{identifier}.png"]
        truth, predicted = (torch.from_numpy(np.array(Image.open(path).convert("L")) > 0).long() for path in masks)
        scores.append(score_image(predicted, truth, 2)["dice"])
    assert np.mean(scores) > floor
