"""The same pass for training, validation and inference, in the precision that the machine has."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from torch import nn

from bundle.network import UNet
from bundle.normalisation import SynchronisedBatchNorm
from bundle.numerics import (
    PRECISIONS,
    PrecisionInferer,
    bf16_gain,
    choose_device,
    choose_precision,
    prepare_network,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return prepare_network(UNet(3, 2, (4, 6, 8, 10)), CPU).eval()


def test_device_and_precision_are_chosen_by_what_is_there():
    assert choose_device("cpu") == CPU
    assert choose_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    if torch.cpu._is_avx512_bf16_supported():
        assert choose_precision(CPU) == "bf16"
    assert [choose_precision(CPU, name) for name in PRECISIONS[1:]] == list(PRECISIONS[1:])


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match=r"auto, bf16, fp32.*'fp8'"):
        choose_precision(CPU, "fp8")


def test_a_prepared_network_is_channels_last_and_computes_the_same():
    torch.manual_seed(0)
    plain = UNet(3, 2, (4, 6, 8, 10)).eval()
    images = torch.rand(2, 3, 32, 32)
    before = plain(images)
    prepared = prepare_network(plain, CPU)
    weight = prepared.encoder[0].conv1.conv.weight  # type: ignore[index,union-attr]
    assert weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(prepared(images), before, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 0.1)])
def test_the_output_is_float32_and_near_the_plain_pass(network, precision, tolerance):
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        output = PrecisionInferer(CPU, precision)(images, network)
        assert output.dtype == torch.float32
        torch.testing.assert_close(output, network(images), atol=tolerance, rtol=tolerance)


def test_a_prediction_keeps_the_metadata_that_undoing_needs(network):
    images = MetaTensor(torch.rand(2, 3, 32, 32), meta={"filename_or_obj": ["a", "b"]})
    images.applied_operations = [[{"class": "FitCanvasd"}], [{"class": "FitCanvasd"}]]
    images.is_batch = True
    output = PrecisionInferer("cpu", "fp32")(images, network)
    assert isinstance(output, MetaTensor) and output.is_batch
    assert output.meta["filename_or_obj"] == ["a", "b"]
    assert output.applied_operations == images.applied_operations
    torch.testing.assert_close(output.as_tensor(), network(images.as_tensor()), atol=1e-5, rtol=1e-4)
    assert type(PrecisionInferer("cpu", "fp32")(images.as_tensor(), network)) is torch.Tensor


def test_a_processor_without_the_instructions_is_measured(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    for gain, wanted in ((2.0, "bf16"), (0.4, "fp32")):
        monkeypatch.setattr("bundle.numerics.bf16_gain", lambda gain=gain: gain)
        assert choose_precision(torch.device("cpu")) == wanted
        assert choose_precision(torch.device("cpu"), "fp32") == "fp32"


def test_the_measure_is_taken_once_and_leaves_the_random_numbers_alone():
    bf16_gain.cache_clear()
    gain = bf16_gain(repeats=1)
    assert gain > 0 and bf16_gain(repeats=1) == gain
    torch.manual_seed(3)
    wanted = torch.rand(4)
    bf16_gain.cache_clear()
    torch.manual_seed(3)
    bf16_gain(repeats=1)
    assert torch.equal(torch.rand(4), wanted)


def test_a_network_is_prepared_for_a_device_by_its_name_also_among_several_processes(monkeypatch):
    monkeypatch.setattr("bundle.run.ranks.world_size", lambda: 2)
    prepared = prepare_network(UNet(3, 2, (2, 4, 4, 8)), "cpu")
    assert any(isinstance(module, SynchronisedBatchNorm) for module in prepared.modules())


@pytest.mark.parametrize(
    ("device", "precision", "coarse"), [("cuda", "fp32", False), ("cuda", "bf16", True), ("cpu", "fp32", True)]
)
def test_on_a_gpu_fp32_is_no_shorter_format(monkeypatch, device, precision, coarse):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    PrecisionInferer(device, precision)
    assert torch.backends.cudnn.allow_tf32 is coarse
