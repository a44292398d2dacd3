"""The end of a pretraining: statistics of clean images, and an eye for collapse."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bundle.network import PretrainingNetwork, UNet
from bundle.pretraining.finish import collapse_signs, recalibrate

NARROW = (4, 6, 8, 10)


@pytest.fixture
def network() -> PretrainingNetwork:
    torch.manual_seed(0)
    return PretrainingNetwork(UNet(3, 2, NARROW, dropout=0.0))


def step(restorative: bool) -> SimpleNamespace:
    return SimpleNamespace(restorative=restorative)


def test_statistics_become_those_of_the_clean_images(network):
    with torch.no_grad():
        network.train()
        for _ in range(5):
            network.restore(3 * torch.rand(4, 3, 32, 32))  # views that are nothing like the images
    batches = [torch.rand(6, 3, 32, 32), torch.rand(6, 3, 32, 32)]
    recalibrate(network, batches, parts=("encoder", "decoder"))
    assert not network.training
    # The first convolution's output needs no other statistics, so its own can be computed beside it.
    block = network.unet.encoder[0]
    outputs = [block.conv1(network.unet.standardise(batch)) for batch in batches]
    means = torch.stack([output.mean(dim=(0, 2, 3)) for output in outputs]).mean(dim=0)
    variances = torch.stack([output.var(dim=(0, 2, 3)) for output in outputs]).mean(dim=0)
    torch.testing.assert_close(block.norm1.running_mean, means, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(block.norm1.running_var, variances, atol=1e-5, rtol=1e-4)


def test_every_image_weighs_the_same_however_the_batches_fall(network):
    images = torch.cat([torch.rand(6, 3, 32, 32), 3 * torch.rand(2, 3, 32, 32)])
    block = network.unet.encoder[0]
    wanted = block.conv1(network.unet.standardise(images)).mean(dim=(0, 2, 3))
    recalibrate(network, [images[:6], images[6:]], parts=("encoder",))
    torch.testing.assert_close(block.norm1.running_mean, wanted, atol=1e-5, rtol=1e-4)


def test_dropout_has_no_part_in_the_statistics():
    torch.manual_seed(0)
    network = PretrainingNetwork(UNet(3, 2, NARROW, dropout=0.5))
    images, found = torch.rand(6, 3, 32, 32), []
    for seed in range(2):
        torch.manual_seed(seed)
        recalibrate(network, [images], parts=("encoder", "decoder"))
        found.append(network.unet.decoder[-1].conv_block.norm1.running_var.clone())
    assert torch.equal(*found)


@pytest.mark.parametrize("images", [2, 3, 7])
def test_the_rank_of_a_handful_of_images_is_no_sign_of_collapse(network, images):
    signs = collapse_signs(network.eval(), torch.rand(images, 3, 32, 32), step=step(False))
    assert signs["descriptor_spread"] > 0.01 and signs["warnings"] == []


def test_one_batch_makes_evaluation_equal_to_training_on_it(network):
    images = torch.rand(8, 3, 32, 32)
    recalibrate(network, [images], parts=("encoder", "decoder"))
    evaluated = network.describe(images)
    torch.testing.assert_close(evaluated, network.train().describe(images), atol=2e-2, rtol=2e-2)


def test_parameters_and_momenta_stay_and_so_does_an_untrained_decoder(network):
    parameters = [p.clone() for p in network.parameters()]
    norms = {n: m for n, m in network.unet.named_modules() if isinstance(m, nn.BatchNorm2d)}
    momenta = {name: norm.momentum for name, norm in norms.items()}
    recalibrate(network, [torch.rand(4, 3, 32, 32)], parts=("encoder",))
    assert all(torch.equal(a, b) for a, b in zip(parameters, network.parameters(), strict=True))
    assert {name: norm.momentum for name, norm in norms.items()} == momenta
    for name, norm in norms.items():
        drawn = torch.equal(norm.running_mean, torch.zeros_like(norm.running_mean))
        assert drawn == name.startswith("decoder."), name


def test_a_batch_of_one_image_is_passed_over(network):
    recalibrate(network, [torch.rand(4, 3, 16, 16), torch.rand(1, 3, 8, 8)], parts=("encoder", "decoder"))
    assert all(torch.isfinite(t).all() for t in network.state_dict().values())


def test_a_constant_network_shows_both_signs_of_collapse(network):
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.zero_()
                module.bias.fill_(0.5)
    signs = collapse_signs(network.eval(), torch.rand(16, 3, 32, 32), step=step(True))
    assert len(signs["warnings"]) == 2
    assert signs["descriptor_spread"] < 1e-3 and signs["restored_spread"] < 1e-3


def test_one_direction_alone_is_a_collapse_as_well(network, monkeypatch):
    monkeypatch.setattr(
        network, "describe", lambda images: images.mean(dim=(1, 2, 3))[:, None] * torch.ones(1, 10) - 0.5
    )
    signs = collapse_signs(network.eval(), torch.rand(16, 3, 8, 8), step=step(False))
    assert signs["effective_rank"] == pytest.approx(1, abs=1e-3) and len(signs["warnings"]) == 1


def test_a_network_that_tells_images_apart_shows_none(network, monkeypatch):
    monkeypatch.setattr(network, "describe", lambda images: images.flatten(1)[:, :12] - 0.5)
    monkeypatch.setattr(network, "restore", lambda images: images)
    signs = collapse_signs(network.eval(), torch.rand(200, 3, 8, 8), step=step(True))
    assert signs["warnings"] == []
    assert signs["descriptor_spread"] == pytest.approx(1, abs=0.1)
    assert signs["effective_rank"] == pytest.approx(12, abs=1) and signs["restored_spread"] == pytest.approx(1)


def test_restoration_is_judged_only_where_it_was_trained(network):
    assert "restored_spread" not in collapse_signs(network.eval(), torch.rand(4, 3, 32, 32), step=step(False))
