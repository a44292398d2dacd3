"""InfoNCE against plain loops, and the queue and the slow network of momentum contrast."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize

from bundle.network import PretrainingNetwork, UNet
from bundle.pretraining.contrast import MomentumContrast, info_nce

NARROW = (4, 6, 8, 10)


def by_hand(
    query: torch.Tensor, keys: torch.Tensor, query_ids: torch.Tensor, key_ids: torch.Tensor, temperature: float
) -> tuple[float, list[bool]]:
    """MoCo eq. 1, without the keys of the query's own image other than its positive."""
    losses, found = [], []
    for i in range(len(query)):
        similarity = {}
        for j in range(len(keys)):
            if j == i or int(key_ids[j]) != int(query_ids[i]):
                similarity[j] = sum(float(a) * float(b) for a, b in zip(query[i], keys[j], strict=True)) / temperature
        losses.append(math.log(sum(math.exp(s) for s in similarity.values())) - similarity[i])
        found.append(all(similarity[i] >= s for s in similarity.values()))
    return sum(losses) / len(losses), found


def network(seed: int = 0) -> PretrainingNetwork:
    torch.manual_seed(seed)
    return PretrainingNetwork(UNet(1, 2, NARROW), projection_dim=6)


@given(st.integers(1, 5), st.integers(0, 6), st.integers(0, 2**31), st.sampled_from([0.1, 0.5, 2.0]))
def test_is_the_paper_s_sum(count, more, seed, temperature):
    generator = torch.Generator().manual_seed(seed)
    query = normalize(torch.randn(count, 4, generator=generator), dim=1)
    keys = normalize(torch.randn(count + more, 4, generator=generator), dim=1)
    ids = torch.randint(0, 3, (count + more,), generator=generator)
    loss, found = info_nce(query, keys, ids[:count], ids, temperature)
    wanted, retrieved = by_hand(query, keys, ids[:count], ids, temperature)
    assert float(loss) == pytest.approx(wanted, abs=1e-4)
    assert found.tolist() == retrieved


@given(st.integers(1, 6), st.integers(0, 6), st.integers(0, 2**31))
def test_shares_of_a_batch_add_up_to_the_whole(count, cut, seed):
    generator = torch.Generator().manual_seed(seed)
    query, keys = (normalize(torch.randn(n, 4, generator=generator), dim=1) for n in (count, count + 3))
    ids = torch.randint(0, 3, (count + 3,), generator=generator)
    whole, found = info_nce(query, keys, ids[:count], ids)
    parts = [slice(0, min(cut, count)), slice(min(cut, count), count)]
    shares = [info_nce(query[part], keys, ids[:count][part], ids, first=part.start) for part in parts]
    added = sum(float(loss) * len(own) / count for loss, own in shares)
    assert added == pytest.approx(float(whole), abs=1e-5)
    assert torch.equal(torch.cat([own for _, own in shares]), found)


@pytest.mark.parametrize("count", [2, 8])
def test_orthogonal_keys_have_a_closed_form(count):
    keys = torch.eye(count)
    ids = torch.arange(count)
    loss, found = info_nce(keys, keys, ids, ids, temperature=0.5)
    assert float(loss) == pytest.approx(math.log(math.exp(2) + count - 1) - 2, abs=1e-5)
    assert found.all()


def test_equal_keys_leave_a_guess_among_them():
    same = torch.ones(8, 1)
    assert float(info_nce(same, same, torch.arange(8), torch.arange(8))[0]) == pytest.approx(math.log(8), abs=1e-5)


def test_other_views_of_the_same_image_are_no_negatives():
    query, keys = torch.eye(2), torch.cat([torch.eye(2), torch.eye(2)[:1]])
    alone = info_nce(query, keys[:2], torch.tensor([7, 8]), torch.tensor([7, 8]))
    masked = info_nce(query[:1], keys[[0, 2]], torch.tensor([7]), torch.tensor([7, 7]))
    assert float(masked[0]) == pytest.approx(0, abs=1e-6) and masked[1].all()
    again = info_nce(query, keys, torch.tensor([7, 8]), torch.tensor([7, 8, 7]))
    counted = info_nce(query, keys, torch.tensor([7, 8]), torch.tensor([7, 8, 9]))
    assert float(alone[0]) < float(again[0]) < float(counted[0])


def test_half_precision_projections_are_compared_in_float():
    vectors = normalize(torch.randn(6, 16), dim=1)
    loss, _ = info_nce(vectors.bfloat16(), vectors.bfloat16(), torch.arange(6), torch.arange(6))
    assert loss.dtype == torch.float32


def test_the_queue_takes_the_newest_in_front_and_has_a_length():
    contrast = MomentumContrast(network(), 5)
    assert contrast.queue_ids.tolist() == [-1] * 5
    for first in (0, 2, 4):
        ids = torch.tensor([first, first + 1])
        contrast.push(ids[:, None].float().expand(-1, 6), ids)
    assert contrast.queue_ids.tolist() == [4, 5, 2, 3, 0]
    assert contrast.queue[:, 0].tolist() == [4, 5, 2, 3, 0]
    contrast.push(torch.zeros(9, 6), torch.arange(10, 19))
    assert contrast.queue_ids.tolist() == [10, 11, 12, 13, 14] and contrast.queue.shape == (5, 6)


def test_what_is_not_filled_yet_takes_no_part():
    contrast = MomentumContrast(network(), 5, temperature=0.3)
    vectors = normalize(torch.randn(5, 6, generator=torch.Generator().manual_seed(0)), dim=1)
    query, key, ids = vectors[:2], vectors[2:4], torch.tensor([0, 1])
    assert torch.equal(contrast.loss(query, key, ids)[0], info_nce(query, key, ids, ids, 0.3)[0])
    contrast.push(vectors[4:], torch.tensor([9]))
    wanted = info_nce(query, vectors[2:], ids, torch.tensor([0, 1, 9]), 0.3)[0]
    assert torch.equal(contrast.loss(query, key, ids)[0], wanted)


@pytest.mark.parametrize("momentum", [0.0, 0.9, 1.0])
def test_the_slow_network_follows_by_the_momentum(momentum):
    fast, start = network(1), network(0)
    contrast = MomentumContrast(start, 4, momentum=momentum)
    contrast.follow(fast)
    for slow, old, new in zip(contrast.key_network.parameters(), start.parameters(), fast.parameters(), strict=True):
        torch.testing.assert_close(slow, momentum * old + (1 - momentum) * new)


def test_no_gradient_reaches_the_keys_or_their_network():
    query_network = network()
    contrast = MomentumContrast(query_network, 4)
    images = torch.rand(4, 1, 16, 16)
    key = contrast.keys(images)
    assert not key.requires_grad and not any(p.requires_grad for p in contrast.key_network.parameters())
    contrast.push(key, torch.arange(4))
    loss, _ = contrast.loss(query_network.project(images), key, torch.arange(4))
    loss.backward()
    assert contrast.queue.grad is None and all(p.grad is None for p in contrast.key_network.parameters())
    assert all(p.grad is not None for p in query_network.projection.parameters())
    assert all(p.requires_grad for p in query_network.parameters()), "the copy alone is frozen"


def test_the_key_network_is_a_copy_and_not_the_network():
    fast = network()
    contrast = MomentumContrast(fast, 4)
    with torch.no_grad():
        fast.restoration.bias.add_(1)
    assert not torch.equal(contrast.key_network.restoration.bias, fast.restoration.bias)


def test_a_resumed_contrast_has_queue_and_slow_network():
    contrast, resumed = MomentumContrast(network(), 3), MomentumContrast(network(5), 3)
    contrast.push(torch.rand(2, 6), torch.tensor([3, 4]))
    resumed.load_state_dict(contrast.state_dict())
    assert torch.equal(resumed.queue, contrast.queue) and torch.equal(resumed.queue_ids, contrast.queue_ids)
    for a, b in zip(resumed.key_network.parameters(), contrast.key_network.parameters(), strict=True):
        assert torch.equal(a, b)
