"""Which images are trained on, which are held out, and where a pretraining starts."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bundle.network import PretrainingNetwork, UNet
from bundle.pretraining.initial import pretraining_network
from bundle.pretraining.pool import HELD_OUT, split_pool
from bundle.schedule import cosine_schedule
from bundle.weights import save_weights

NARROW = (4, 6, 8, 10)
CPU = torch.device("cpu")


def entries(count: int) -> list[dict[str, str]]:
    return [{"id": f"{i:05d}", "image": f"/data/{i}.png", "label": "/data/secret.png"} for i in range(count)]


@given(st.integers(8, 300), st.integers(0, 3), st.randoms())
def test_every_image_is_on_one_side_with_a_number_of_its_own(count, seed, shuffler):
    shuffled = entries(count)
    shuffler.shuffle(shuffled)
    train, held = split_pool(shuffled, seed)
    assert sorted(e["index"] for e in train + held) == list(range(count))
    assert len(held) == min(HELD_OUT, max(2, count // 10))
    assert {e["id"]: e["index"] for e in train + held} == {f"{i:05d}": i for i in range(count)}
    assert (train, held) == split_pool(entries(count), seed), "the order of the entries changes nothing"
    assert all("label" not in e for e in train + held), "self-supervision sees no label"


def test_the_held_out_images_follow_the_seed_and_are_bounded():
    assert split_pool(entries(100), 0)[1] != split_pool(entries(100), 1)[1]
    assert len(split_pool(entries(5000), 0)[1]) == HELD_OUT


def test_too_small_a_pool_is_refused():
    with pytest.raises(ValueError, match=r"at least 8.*got 7"):
        split_pool(entries(7), 0)


def state(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: t.clone() for name, t in network.state_dict().items()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_initial_weights_follow_from_the_seed_alone():
    torch.manual_seed(1)
    first = pretraining_network(UNet(3, 2, NARROW), CPU, seed=0)
    torch.manual_seed(2)
    second = pretraining_network(UNet(3, 2, NARROW), CPU, seed=0)
    assert equal(state(first), state(second))
    assert not equal(state(first), state(pretraining_network(UNet(3, 2, NARROW), CPU, seed=1)))


def test_goes_on_from_shipped_weights_with_their_heads(tmp_path):
    torch.manual_seed(3)
    trained = PretrainingNetwork(UNet(3, 2, NARROW))
    heads = {"projection": trained.projection, "restoration": trained.restoration}
    path = save_weights(tmp_path / "ssl.pt", trained.unet, {}, heads=heads, parts=("encoder",))
    started = pretraining_network(UNet(3, 4, NARROW), CPU, init=path, seed=0)
    fresh = pretraining_network(UNet(3, 4, NARROW), CPU, seed=0)
    assert equal(state(started.unet.encoder), state(trained.unet.encoder))
    assert equal(state(started.projection), state(trained.projection))
    assert equal(state(started.restoration), state(trained.restoration))
    assert equal(state(started.unet.decoder), state(fresh.unet.decoder))


def test_weights_of_other_channels_are_refused(tmp_path):
    path = save_weights(tmp_path / "ssl.pt", UNet(1, 2, NARROW), {})
    with pytest.raises(ValueError, match="in_channels is 1, not 3"):
        pretraining_network(UNet(3, 2, NARROW), CPU, init=path)


def test_weights_of_which_nothing_fits_are_refused(tmp_path):
    torch.save({"model": {"layer1.weight": torch.ones(2)}, "settings": {}}, tmp_path / "resnet.pt")
    with pytest.raises(ValueError, match=r"nothing in .*resnet\.pt fits"):
        pretraining_network(UNet(3, 2, NARROW), CPU, init=tmp_path / "resnet.pt")


@pytest.mark.parametrize("steps", [1, 2, 20, 500])
def test_the_learning_rate_rises_shortly_and_ends_at_nothing(steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = cosine_schedule(optimizer, steps)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert max(rates) == pytest.approx(2.0) and min(rates) > 0
    peak = rates.index(max(rates))
    assert peak <= max(1, steps // 15)
    assert all(a < b for a, b in pairwise(rates[: peak + 1])) and all(a >= b for a, b in pairwise(rates[peak:]))
    assert steps < 20 or optimizer.param_groups[0]["lr"] < 0.01
