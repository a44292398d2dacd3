"""A fine-tuned network from its weight file, and what is refused as one."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from bundle.data.modality import load_modality
from bundle.network import UNet
from bundle.segmentation.fine_tuned import load_fine_tuned
from bundle.weights import save_weights, write_tensors

MODALITY = load_modality("chest_xray")
ABOUT = {"modality": MODALITY.name, "size": MODALITY.size, "dropout": 0.2}


@pytest.fixture
def network() -> UNet:
    return UNet(MODALITY.channels, MODALITY.classes, dropout=0.2)


def test_the_network_is_as_its_training_left_it(network, tmp_path):
    found = load_fine_tuned(save_weights(tmp_path / "model.pt", network, settings=ABOUT), MODALITY)
    assert found.dropout.p == 0.2
    for (name, tensor), (other, wanted) in zip(found.state_dict().items(), network.state_dict().items(), strict=True):
        assert name == other and torch.equal(tensor, wanted)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"name": "mammography"}, "modality is 'chest_xray', not 'mammography'"),
        ({"size": 64}, "size is 128, not 64"),
        ({"labels": (*MODALITY.labels, "heart")}, "out_channels is 2, not 3"),
    ],
)
def test_weights_of_another_modality_are_refused_by_what_differs(network, tmp_path, other, told):
    path = save_weights(tmp_path / "model.pt", network, settings=ABOUT)
    with pytest.raises(ValueError, match=told):
        load_fine_tuned(path, dataclasses.replace(MODALITY, **other))


def test_weights_that_are_no_fine_tuned_model_are_refused(network, tmp_path):
    encoder = save_weights(tmp_path / "encoder.pt", network, settings=ABOUT, parts=("encoder",))
    foreign = write_tensors(tmp_path / "foreign.pt", {"model": network.state_dict()})
    for path in (encoder, foreign):
        with pytest.raises(ValueError, match="does not fill the network"):
            load_fine_tuned(path, MODALITY)
