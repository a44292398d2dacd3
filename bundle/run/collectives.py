"""What a batch that is split over processes must do as one: sums, gathered rows and random draws.

A rule holds throughout: the loss of a process is its share of the loss of the whole batch. So losses, gradients and
figures add up over the processes to those of one process that sees the whole batch, also where shares differ in size.
Every process must call these functions in the same order. In a job of one process they cost nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed
from torch.nn.functional import dropout2d
from torch.overrides import TorchFunctionMode

from bundle.run import ranks

_BLOCK_ROWS = 65536  # sent at once; gloo counts bytes in 32 bits


@dataclasses.dataclass(frozen=True)
class Rows:
    """Which rows of the whole batch are this process's: ``count`` from ``start`` on, of ``total``."""

    start: int
    count: int
    total: int

    @property
    def share(self) -> float:
        """Own rows over all, 0 to 1."""
        return self.count / max(1, self.total)


def own_rows(count: int) -> Rows:
    """Where ``count`` rows of this process lie when those of all processes stand in the order of ranks."""
    counts = _counts(count)
    return Rows(sum(counts[: ranks.rank()]), count, sum(counts))


def gather(*tensors: torch.Tensor) -> tuple[tuple[torch.Tensor, ...], Rows]:
    """Rows of all processes, in the order of ranks, without gradient.

    Args:
        tensors: each (n, ...), with the same n on a process; n may differ between processes and may be 0.

    Returns:
        The tensors with the rows of all, (N, ...), and which of them are this process's own.
    """
    if ranks.world_size() == 1:
        return tensors, own_rows(len(tensors[0]))
    counts = _counts(len(tensors[0]))
    found = []
    for tensor in tensors:
        padded = tensor.new_zeros(max(counts), *tensor.shape[1:])
        padded[: len(tensor)] = tensor.detach()
        pieces = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(pieces, padded)
        found.append(torch.cat([piece[:count] for piece, count in zip(pieces, counts, strict=True)]))
    return tuple(found), Rows(sum(counts[: ranks.rank()]), len(tensors[0]), sum(counts))


def total(tensor: torch.Tensor) -> torch.Tensor:
    """The sum of ``tensor`` over the processes, element by element; gradients flow back to all of them."""
    return tensor if ranks.world_size() == 1 else _Total.apply(tensor)


def total_figures(figures: Mapping[str, float]) -> dict[str, float]:
    """The sum of every figure over the processes, which all have figures of the same names."""
    if ranks.world_size() == 1:
        return dict(figures)
    values = torch.tensor(list(figures.values()), dtype=torch.float64)
    distributed.all_reduce(values, group=ranks.turns())
    return dict(zip(figures, values.tolist(), strict=True))


def total_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace every gradient by its sum over the processes.

    Not by DistributedDataParallel, which hooks into ``forward`` alone: a pretraining step goes through the network by
    other methods and several times, it leaves heads out, and shares may differ in size. What is given up is
    communication during the backward pass: the 2 million parameters of the U-Net are one message of 8 MB.
    """
    if ranks.world_size() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    distributed.all_reduce(flat)
    for gradient, summed in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(summed.view(gradient.shape))


def stack_on_first(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of all processes, in the order of ranks, on the first; the others keep theirs.

    Args:
        rows: (n, D), n may differ between processes and may be 0.
    """
    if ranks.world_size() == 1:
        return rows
    counts = _counts(len(rows))
    if not ranks.is_first():
        for start in range(0, len(rows), _BLOCK_ROWS):
            block = torch.from_numpy(np.ascontiguousarray(rows[start : start + _BLOCK_ROWS]))
            distributed.send(block, 0, group=ranks.turns())
        return rows
    found = np.empty((sum(counts), rows.shape[1]), dtype=rows.dtype)
    found[: len(rows)] = rows
    first = len(rows)
    for source, count in enumerate(counts[1:], 1):
        for start in range(first, first + count, _BLOCK_ROWS):
            block = torch.from_numpy(found[start : min(start + _BLOCK_ROWS, first + count)])
            distributed.recv(block, source, group=ranks.turns())
        first += count
    return found


def whole_batch_draws(count: int) -> contextlib.AbstractContextManager[Any]:
    """Inside, random numbers are drawn for the whole batch, and a process keeps those of its own ``count`` images.

    With torch's generators seeded alike on all processes every image then gets the changes that it gets in one process.
    Numbers count as an image's where the first axis is as long as the batch.
    """
    return contextlib.nullcontext() if ranks.world_size() == 1 else _WholeBatchDraws(own_rows(count))


class _WholeBatchDraws(TorchFunctionMode):
    """Draws for the whole batch in place of ``torch.rand``, ``randn``, ``randint``, their ``_like`` and dropout."""

    def __init__(self, rows: Rows) -> None:
        super().__init__()
        self._rows = rows

    def __torch_function__(self, func: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.rand, torch.randn):
            size = args if isinstance(args[0], int) else tuple(args[0])
            return self._own(lambda whole: func(whole, **kwargs), size)
        if func is torch.randint:
            *limits, size = args
            bounds: Any = limits  # one or two
            return self._own(lambda whole: torch.randint(*bounds, whole, **kwargs), tuple(size))
        if func in (torch.rand_like, torch.randn_like):
            return self._own(lambda whole: func(_empty_like(args[0], whole), **kwargs), tuple(args[0].shape))
        if func is dropout2d:
            return self._dropout(*args, **kwargs)
        return func(*args, **kwargs)

    def _own(self, draw: Any, size: tuple[int, ...]) -> torch.Tensor:
        rows = self._rows
        if not size or size[0] != rows.count:
            return draw(size)
        return draw((rows.total, *size[1:]))[rows.start : rows.start + rows.count]

    def _dropout(self, images: torch.Tensor, p: float = 0.5, training: bool = True, **_: Any) -> torch.Tensor:
        """Channel dropout of (B, C, W, H): an image's channels are kept or dropped whole."""
        if not training:
            return images
        size = (len(images), images.shape[1], 1, 1)
        return images * self._own(lambda whole: dropout2d(images.new_ones(whole), p, True), size)


class _Total(torch.autograd.Function):
    """A sum over processes. Each has its share of the loss, so the gradient is the sum of all gradients."""

    @staticmethod
    def forward(_: Any, tensor: torch.Tensor) -> torch.Tensor:
        return _summed(tensor)

    @staticmethod
    def backward(_: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _summed(gradient)


def _empty_like(tensor: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Of another length; with channels last where ``tensor`` has them so, for numbers are drawn in that order."""
    last = tensor.ndim == 4 and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    return torch.empty(shape, dtype=tensor.dtype, device=tensor.device, memory_format=layout)


def _summed(tensor: torch.Tensor) -> torch.Tensor:
    found = tensor.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(found)
    return found


def _counts(count: int) -> list[int]:
    """``count`` of every process, in the order of ranks."""
    if ranks.world_size() == 1:
        return [count]
    counts = [torch.zeros(1, dtype=torch.long) for _ in range(ranks.world_size())]
    distributed.all_gather(counts, torch.tensor([count]), group=ranks.turns())
    return [int(found) for found in counts]
