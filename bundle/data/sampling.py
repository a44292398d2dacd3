"""Which images a step sees, and the seed of everything random in it, as functions of (seed, step) alone.

So a run that is killed and resumed goes on as if nothing had happened, and 5 labels train as many steps as 5000.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.data import DataLoader
from numpy.typing import NDArray
from torch.utils.data import Sampler

from bundle.data.augmentation import augment
from bundle.data.modality import Augmentation
from bundle.run import ranks
from bundle.run.collectives import whole_batch_draws
from bundle.run.seeds import derive_seed, numpy_stream


class WeightedLabels(NamedTuple):
    """Labels of a batch, and how much each image counts.

    Attributes:
        labels: (B, 1, W, H) class indices.
        weights: (B,) factors of the images' losses.
    """

    labels: torch.Tensor
    weights: torch.Tensor


class SoftLabels(NamedTuple):
    """Labels of a batch as probabilities, where no class is certain.

    Attributes:
        probabilities: (B, classes, W, H) float in [0, 1] that sum to 1 over the classes, background first.
    """

    probabilities: torch.Tensor


class _Passes:
    """Images by turns: pass ``p`` over them is a permutation from stream (seed, p), passes follow without a gap."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self._order = functools.lru_cache(maxsize=2)(self._permutation)  # of 10 million images it takes half a second

    def take(self, first: int, size: int) -> list[int]:
        """Positions of ``size`` images, 0-based, from the ``first`` place of all passes on."""
        passes = range(first // self.count, (first + size - 1) // self.count + 1)
        order = np.concatenate([self._order(p) for p in passes])
        skipped = first - passes[0] * self.count
        return [int(i) for i in order[skipped : skipped + size]]

    def _permutation(self, number: int) -> NDArray[np.intp]:
        """The order of a pass, 0-based."""
        return numpy_stream(self.seed, "pass", number).permutation(self.count)


class _StepBatches(Sampler[list[int]]):
    """Endless batches, each a function of its step; where a job has several processes, each takes a part of every one.

    Args:
        batch_size: images a step, over all processes.
        start_step: step to begin with, 0-based; set it to resume.
    """

    def __init__(self, batch_size: int, start_step: int = 0) -> None:
        if batch_size < ranks.world_size():
            raise ValueError(
                f"batch_size counts the images of all processes and must be at least their number, "
                f"{ranks.world_size()}, got {batch_size}"
            )
        self.batch_size, self.start_step = batch_size, start_step

    def batch(self, step: int) -> list[int]:
        """Positions of the images of a step, 0-based, those of all processes."""
        raise NotImplementedError

    def resume_at(self, step: int) -> None:
        """Begin with ``step``, 0-based."""
        self.start_step = step

    def __iter__(self) -> Iterator[list[int]]:
        step, own = self.start_step, ranks.part(self.batch_size)
        while True:
            yield self.batch(step)[own.start : own.stop]
            step += 1


class StepSampler(_StepBatches):
    """Endless batches, pass after pass over the data in another order.

    With fewer images than a batch holds, a batch runs over several passes, so every image comes equally often
    (sampling with replacement would leave out more than a third of the images of a small set in a pass).

    Args:
        count: number of images, at least 1.
        batch_size: images a step, over all processes.
        seed: seed of the run.
        start_step: step to begin with, 0-based; set it to resume.
    """

    def __init__(self, count: int, batch_size: int, seed: int = 0, start_step: int = 0) -> None:
        if count < 1 or batch_size < 1:
            raise ValueError(f"sampling needs at least one image and one per batch, got {count} and {batch_size}")
        super().__init__(batch_size, start_step)
        self._passes = _Passes(count, seed)

    def batch(self, step: int) -> list[int]:
        """Positions of the images of a step, 0-based, those of all processes."""
        return self._passes.take(step * self.batch_size, self.batch_size)


class HalvesSampler(_StepBatches):
    """Endless batches of two sets that lie one behind the other, half of each; of an odd batch the first has more.

    Args:
        counts: images of the first set and of the second, at least 1 each.
        batch_size: images a step, over all processes, at least 2.
        seed: seed of the run.
    """

    def __init__(self, counts: tuple[int, int], batch_size: int, seed: int = 0) -> None:
        if min(counts) < 1 or batch_size < 2:
            raise ValueError(
                f"a half of each set needs an image of each and 2 a batch, got {counts} images and {batch_size} a batch"
            )
        super().__init__(batch_size)
        self.counts = counts
        self._passes = [_Passes(count, derive_seed(seed, "half", half)) for half, count in enumerate(counts)]

    def batch(self, step: int) -> list[int]:
        """Positions of the images of a step, 0-based: those of the first set, then those of the second behind it."""
        sizes = self.batch_size - self.batch_size // 2, self.batch_size // 2
        first, second = (p.take(step * size, size) for p, size in zip(self._passes, sizes, strict=True))
        return [*first, *(self.counts[0] + position for position in second)]


class OwnPart(Sampler[int]):
    """Positions of this process's part of ``count`` images, 0-based, in order; see :func:`bundle.run.ranks.part`."""

    def __init__(self, count: int) -> None:
        self._part = ranks.part(count)

    def __len__(self) -> int:
        return len(self._part)

    def __iter__(self) -> Iterator[int]:
        return iter(self._part)


class StepSeed:
    """Turns a cached batch into a step's input: seeds the step, goes to the device, augments.

    Called by MONAI's engines as ``prepare_batch``. Dropout draws from the same generators, so the whole step follows
    from (seed, step).

    Args:
        seed: seed of the run.
        limits: random changes; None for none.
    """

    def __init__(self, seed: int = 0, limits: Augmentation | None = None) -> None:
        self.seed, self.limits, self.step = seed, limits, 0

    def resume_at(self, step: int) -> None:
        """Make ``step``, 0-based, the next one."""
        self.step = step

    def __call__(
        self, batch: dict[str, Any], device: str | torch.device | None = None, non_blocking: bool = False, **_: Any
    ) -> tuple[torch.Tensor, torch.Tensor | WeightedLabels | SoftLabels]:
        """A collated batch to images (B, C, W, H) float in [0, 1] and labels (B, 1, W, H) on ``device``.

        Where the images have a ``weight``, it comes with the labels; where they have a ``belief``, (B, labels, W, H)
        uint8 of probabilities in 0..255, it stands in the place of a label.
        """
        torch.manual_seed(derive_seed(self.seed, "step", self.step))
        self.step += 1
        images = as_unit_range(batch["image"].to(device, non_blocking=non_blocking))
        soft = "belief" in batch
        labels = batch["belief" if soft else "label"].to(device, non_blocking=non_blocking)
        labels = as_unit_range(labels) if soft else labels
        if self.limits is not None:
            with whole_batch_draws(len(images)):
                images, labels = augment(images, labels, self.limits)
        if soft:
            return images, SoftLabels(torch.cat([1 - labels.sum(dim=1, keepdim=True), labels], dim=1).clamp_(0, 1))
        if "weight" not in batch:
            return images, labels
        return images, WeightedLabels(
            labels, torch.as_tensor(batch["weight"], dtype=torch.float32, device=labels.device)
        )


def as_unit_range(images: torch.Tensor) -> torch.Tensor:
    """uint8 in 0..255 to float32 in [0, 1]; floats pass through."""
    return images if images.dtype.is_floating_point else images.float().div_(255)


def endless_loader(dataset: Any, *, batch_size: int, seed: int = 0) -> DataLoader:
    """Endless shuffled batches over ``dataset`` for training, by :class:`StepSampler`."""
    # No worker processes: from a cache in memory a batch of 16 is stacked in a fraction of a millisecond.
    return DataLoader(dataset, batch_sampler=StepSampler(len(dataset), batch_size, seed), num_workers=0)
