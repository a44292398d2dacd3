"""A warm start copies by name and shape, and tells of every tensor what came of it."""

from __future__ import annotations

import logging

import pytest
import torch

from bundle.network import PretrainingNetwork, UNet
from bundle.warm_start import initial_network, warm_start
from bundle.weights import save_weights

NARROW = (4, 6, 8, 10)
CPU = torch.device("cpu")


def unet(seed: int, channels: int = 3, classes: int = 2, filters: tuple[int, ...] = NARROW) -> UNet:
    torch.manual_seed(seed)
    return UNet(channels, classes, filters)


@pytest.fixture
def source(tmp_path):
    """Weights of self-supervision: encoder and decoder of a network, without its segmentation heads."""
    network = unet(1)
    save_weights(tmp_path / "ssl.pt", network, {"modality": "own"}, parts=("encoder", "decoder"))
    return network, tmp_path / "ssl.pt"


def same(a: UNet, b: UNet, part: str) -> list[bool]:
    ours, theirs = a.state_dict(), b.state_dict()
    return [torch.equal(ours[name], theirs[name]) for name in ours if name.startswith(part)]


def test_everything_that_fits_is_copied_and_the_rest_stays_as_drawn(source):
    trained, path = source
    network, drawn = unet(2), unet(2)
    account = warm_start(network, path)
    assert all(same(network, trained, "encoder.")) and all(same(network, trained, "decoder."))
    assert all(same(network, drawn, "heads."))
    state = network.state_dict()
    assert set(account.loaded) == {name for name in state if not name.startswith("heads.")}
    assert account.skipped == {name: "not in the file" for name in state if name.startswith("heads.")}
    assert account.unused == {}


def test_the_encoder_alone_leaves_the_decoder_as_drawn(source):
    trained, path = source
    network, drawn = unet(2), unet(2)
    account = warm_start(network, path, "encoder")
    assert all(same(network, trained, "encoder."))
    assert all(same(network, drawn, "decoder.")) and all(same(network, drawn, "heads."))
    assert not all(same(network, trained, "decoder."))
    assert all(name.startswith("encoder.") for name in account.loaded)
    assert set(account.unused.values()) == {"outside the encoder"}
    assert account.unused.keys() <= account.skipped.keys()


def test_other_labels_keep_their_own_heads(tmp_path):
    save_weights(tmp_path / "lungs.pt", unet(1), {})
    network, drawn = unet(2, classes=4), unet(2, classes=4)
    account = warm_start(network, tmp_path / "lungs.pt")
    assert all(same(network, drawn, "heads.")) and all(same(network, unet(1), "decoder."))
    assert (
        account.unused["heads.0.weight"] == "shape (2, 4, 1, 1) for (4, 4, 1, 1)" == account.skipped["heads.0.weight"]
    )


def test_every_tensor_is_accounted_for_once_and_logged(source, caplog):
    network = unet(2)
    with caplog.at_level(logging.INFO):
        account = warm_start(network, source[1])
    assert sorted([*account.loaded, *account.skipped]) == sorted(network.state_dict())
    assert account.summary() in caplog.text and str(source[1]) in caplog.text
    assert all(name in caplog.text for name in account.skipped)


@pytest.mark.parametrize(
    ("network", "told"),
    [(unet(2, channels=1), "in_channels is 3, not 1"), (unet(2, filters=(4, 6, 8, 12)), "filters is .*not")],
)
def test_other_channels_or_widths_are_refused(source, network, told):
    before = {name: t.clone() for name, t in network.state_dict().items()}
    with pytest.raises(ValueError, match=told):
        warm_start(network, source[1])
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())


def test_a_file_of_which_nothing_fits_is_refused(tmp_path):
    torch.save({"model": {"layer1.weight": torch.ones(2)}, "settings": {}}, tmp_path / "resnet.pt")
    with pytest.raises(ValueError, match=r"nothing in .*resnet\.pt fits"):
        warm_start(unet(2), tmp_path / "resnet.pt")


def test_an_encoder_start_from_a_file_without_encoder_is_refused(tmp_path):
    save_weights(tmp_path / "decoder.pt", unet(1), {}, parts=("decoder",))
    with pytest.raises(ValueError, match="nothing in"):
        warm_start(unet(2), tmp_path / "decoder.pt", "encoder")


def test_unknown_scopes_and_missing_weights_are_told(source):
    with pytest.raises(ValueError, match="all, encoder, got 'none'"):
        warm_start(unet(2), source[1], "none")
    with pytest.raises(ValueError, match="all, encoder, none, got 'half'"):
        initial_network(unet(2), CPU, scope="half", weights=source[1])
    with pytest.raises(ValueError, match="needs weights"):
        initial_network(unet(2), CPU, scope="encoder")


def test_the_initial_network_follows_from_the_seed_alone(source):
    first, second, other = (initial_network(unet(draw), CPU, seed=seed) for draw, seed in ((2, 0), (3, 0), (2, 1)))
    assert all(same(first, second, ""))
    assert not all(same(first, other, ""))
    warm = initial_network(unet(2), CPU, scope="encoder", weights=source[1], seed=0)
    assert all(same(warm, source[0], "encoder.")) and all(same(warm, first, "decoder."))


def test_self_supervision_s_heads_do_not_come_along(tmp_path):
    network = unet(1)
    both = PretrainingNetwork(network)
    save_weights(tmp_path / "ssl.pt", network, {}, parts=("encoder",), heads={"projection": both.projection})
    target = unet(2)
    names = set(target.state_dict())
    account = warm_start(target, tmp_path / "ssl.pt")
    assert set(target.state_dict()) == names and not account.unused
