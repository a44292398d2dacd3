"""Batch normalisation over processes is batch normalisation."""

from __future__ import annotations

import copy

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from bundle.network import Inspection, UNet
from bundle.normalisation import FoldNormalisation, SynchronisedBatchNorm, folded, synchronise


@pytest.mark.parametrize("momentum", [0.1, None])
def test_it_gives_outputs_gradients_and_running_statistics_of_torch_s_own(momentum):
    torch.manual_seed(0)
    plain = nn.BatchNorm2d(6, momentum=momentum)
    nn.init.uniform_(plain.weight)
    nn.init.uniform_(plain.bias)
    ours = SynchronisedBatchNorm(6, momentum=momentum)
    ours.load_state_dict(copy.deepcopy(plain.state_dict()))
    for _ in range(3):
        images = (torch.randn(4, 6, 3, 5) * 3 + 100).requires_grad_()  # a large mean loses digits in E[x^2] - E[x]^2
        target = torch.randn(4, 6, 3, 5)
        given = {}
        for norm in (plain, ours):
            norm.zero_grad()
            output = norm(images)
            gradients = torch.autograd.grad((output * target).sum(), [images, norm.weight, norm.bias])
            given[norm] = [output, *gradients, norm.running_mean, norm.running_var, norm.num_batches_tracked]
        for found, expected in zip(given[ours], given[plain], strict=True):
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    images = torch.randn(2, 6, 3, 5)
    assert torch.equal(
        ours.eval()(images),
        nn.functional.batch_norm(images, ours.running_mean, ours.running_var, ours.weight, ours.bias),
    )


def test_the_type_of_the_images_is_kept():
    assert SynchronisedBatchNorm(2)(torch.rand(3, 2, 4, 4).bfloat16()).dtype == torch.bfloat16


def test_one_process_keeps_torch_s_own():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    assert synchronise(network, torch.device("cpu")) is network and type(network[1]) is nn.BatchNorm2d


@pytest.fixture
def used() -> UNet:
    """A network whose statistics and affine parameters are none of the first ones."""
    torch.manual_seed(0)
    network = UNet(3, 2, (2, 4, 4, 8))
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 2)
                nn.init.normal_(module.bias)
        for _ in range(3):
            network(torch.rand(4, 3, 32, 32))
    return network.eval()


def test_folded_a_network_gives_the_same_without_a_normalisation_and_stays_as_it_is(used):
    before = {name: tensor.clone() for name, tensor in used.state_dict().items()}
    images = torch.rand(2, 3, 32, 32)
    inspection = Inspection(used)
    with torch.no_grad():
        found, expected = folded(inspection)(images), inspection(images)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-5, rtol=1e-5)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded(inspection).modules())
    after = used.state_dict()
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)


def test_an_evaluator_runs_the_folded_copy_of_the_weights_loaded_last(used):
    engine = Engine(lambda engine, images: engine.network(images))
    engine.network = used
    FoldNormalisation(used).attach(engine)
    images = torch.rand(1, 3, 32, 32)
    for _ in range(2):
        with torch.no_grad():
            expected = used(images)
            torch.testing.assert_close(engine.run([images]).output, expected, atol=1e-5, rtol=1e-5)
            used.heads[0].bias += 1
        assert engine.network is not used
