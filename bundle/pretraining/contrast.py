"""Momentum contrast (He et al., CVPR 2020), the features of contrastive annotation (Jin et al. 2022, section 3.2)."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from bundle.network import PretrainingNetwork

TEMPERATURE = 0.2  # MoCo v2 (Chen et al. 2020, table 1c)
# MoCo's .999 averages over 1000 steps, a fraction of an epoch of ImageNet; a pool of 2000 images has 30 steps an
# epoch, and .99 averages over about three of them.
MOMENTUM = 0.99


def info_nce(
    query: torch.Tensor,
    keys: torch.Tensor,
    query_ids: torch.Tensor,
    key_ids: torch.Tensor,
    temperature: float = TEMPERATURE,
    *,
    first: int = 0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """InfoNCE (van den Oord et al. 2018; MoCo eq. 1), other views of the query's own image left out of the negatives.

    Args:
        query: (B, D), rows of length 1.
        keys: (M, D), rows of length 1, M >= B; row ``first + i`` is the positive of query i.
        query_ids: (B,) integer, which image a query shows.
        key_ids: (M,) likewise for the keys.
        temperature: divides the cosine similarity; greater than 0.
        first: row of the first positive.

    Returns:
        The mean loss (0 where there is no query), and for each query whether its positive is nearer than every
        negative, (B,) bool.
    """
    return masked_info_nce(query, keys, query_ids[:, None] == key_ids[None, :], temperature, first=first)


def masked_info_nce(
    query: torch.Tensor, keys: torch.Tensor, neither: torch.Tensor, temperature: float, *, first: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """InfoNCE with some pairs left out.

    Args:
        query: as of :func:`info_nce`.
        keys: likewise.
        neither: (B, M) bool, pairs that are no negatives; the positives stay whatever it says of them.
        temperature, first: likewise.

    Returns:
        As :func:`info_nce`.
    """
    logits = query.float() @ keys.float().T / temperature
    row = torch.arange(len(query), device=query.device)
    target = row + first
    neither = neither.index_put((row, target), neither.new_tensor(False))
    logits = logits.masked_fill(neither, float("-inf"))
    loss = cross_entropy(logits, target, reduction="sum") / max(1, len(query))
    return loss, logits.argmax(dim=1) == target


class MomentumContrast(nn.Module):
    """The key network, a slow copy of the query network, and the queue of its keys.

    Both networks normalise by the statistics of their batch. MoCo shuffles BatchNorm across GPUs lest a query know
    its positive by the batch's statistics; here the batch's own keys, which share these statistics, are negatives
    too (as in MoCo v3), so that clue tells nothing about them. (Keys by averaged running statistics, EMAN, were tried:
    early on they are nearly constant and the training never starts.)

    Args:
        network: the query network.
        queue_length: keys to keep. No more than the pool has images: beyond that they are other views of images that
            are there already.
        momentum: weight of the old parameters at each update, 0 to 1.
        temperature: see :func:`info_nce`.
    """

    def __init__(
        self,
        network: PretrainingNetwork,
        queue_length: int,
        *,
        momentum: float = MOMENTUM,
        temperature: float = TEMPERATURE,
    ) -> None:
        super().__init__()
        self.key_network = copy.deepcopy(network).requires_grad_(False)
        self.momentum, self.temperature = momentum, temperature
        last = network.projection[-1]
        assert isinstance(last, nn.Linear)
        self.queue: torch.Tensor
        self.queue_ids: torch.Tensor
        self.register_buffer("queue", torch.zeros(queue_length, last.out_features))
        self.register_buffer("queue_ids", torch.full((queue_length,), -1, dtype=torch.long))  # -1: still empty

    @torch.no_grad()
    def keys(self, images: torch.Tensor) -> torch.Tensor:
        """Keys of a batch of views, (B, D)."""
        return self.key_network.train().project(images)

    @torch.no_grad()
    def keys_and_places(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys of a batch of views, (B, D), and of their places, (B, D / 2, w, h)."""
        return self.key_network.train().project_places(images)

    def loss(
        self, query: torch.Tensor, key: torch.Tensor, ids: torch.Tensor, *, first: int = 0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """InfoNCE of queries against the keys of their batch and the queue; see :func:`info_nce`.

        Args:
            query: (n, D), those of this process.
            key: (B, D), those of the whole batch.
            ids: (B,) integer, which image a key shows.
            first: row of the whole batch where the queries begin.
        """
        filled = self.queue_ids >= 0
        keys = torch.cat([key, self.queue[filled]])
        key_ids = torch.cat([ids, self.queue_ids[filled]])
        own = ids[first : first + len(query)]
        return info_nce(query, keys, own, key_ids, self.temperature, first=first)

    @torch.no_grad()
    def push(self, key: torch.Tensor, ids: torch.Tensor) -> None:
        """Put the newest keys in front, those of the whole batch on every process; the oldest leave the queue."""
        self.queue = torch.cat([key, self.queue])[: len(self.queue)]
        self.queue_ids = torch.cat([ids, self.queue_ids])[: len(self.queue_ids)]

    @torch.no_grad()
    def follow(self, network: PretrainingNetwork) -> None:
        """Move the key network a step towards ``network`` (MoCo eq. 2)."""
        for slow, fast in zip(self.key_network.parameters(), network.parameters(), strict=True):
            slow.lerp_(fast.detach(), 1 - self.momentum)
