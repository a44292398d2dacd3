"""The end of a pretraining: clean statistics, a look for collapse, weights and the run record."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch.nn.modules.batchnorm import _BatchNorm  # the one class that BatchNorm2d and SyncBatchNorm share
from torch.utils.data import Dataset

from bundle.data.sampling import as_unit_range
from bundle.network import PretrainingNetwork
from bundle.pretraining.step import LARGEST_BATCH, PretrainingStep
from bundle.run import ranks
from bundle.run.collectives import own_rows
from bundle.run.record import RunRecord, file_fingerprint
from bundle.run.seeds import numpy_stream
from bundle.weights import save_weights

logger = logging.getLogger(__name__)

FEWEST = 8  # held-out images from which on the rank of their descriptors says something


class FinishPretraining:
    """Recalibrates BatchNorm, looks for signs of collapse, writes the weights and then ``run.json``.

    Args:
        step: the trained step.
        dataset: the pool as compact items, for the recalibration.
        held_out: images that were not trained on, (N, C, W, H) uint8.
        weights: where the weights go.
        settings: travel with the weights.
        record: the run record.
        folder: where ``run.json`` goes.
        batch_size: images of a forward pass, 64 at most.
    """

    def __init__(
        self,
        step: PretrainingStep,
        *,
        dataset: Dataset,
        held_out: torch.Tensor,
        weights: str | os.PathLike[str],
        settings: Mapping[str, Any],
        record: RunRecord,
        folder: str | os.PathLike[str],
        batch_size: int = LARGEST_BATCH,
    ) -> None:
        self.step, self.dataset, self.held_out = step, dataset, held_out
        self.batch_size = max(2, min(batch_size, LARGEST_BATCH))  # BatchNorm learns nothing of a single image
        self.weights, self.settings, self.record, self.folder = weights, settings, record, folder

    def attach(self, engine: Engine) -> None:
        """Act when ``engine`` has completed all its epochs."""
        engine.add_event_handler(Events.COMPLETED, self._finish)

    def _finish(self, engine: Engine) -> None:
        step, network = self.step, self.step.network
        device = next(network.parameters()).device
        batches = _batches(self.dataset, device, size=self.batch_size, seed=step.seed)
        recalibrate(network, batches, parts=step.trained_parts)
        held_out = as_unit_range(self.held_out.to(device))
        signs = collapse_signs(network, held_out, step=step, batch_size=self.batch_size)
        self._write(engine.state.iteration, signs)

    @ranks.only_first
    def _write(self, steps: int, signs: dict[str, Any]) -> None:
        step, network = self.step, self.step.network
        for warning in signs["warnings"]:
            logger.warning(warning)
        save_weights(
            self.weights,
            network.unet,
            self.settings,
            heads={name: getattr(network, name) for name in ("projection", "places", "restoration")},
            # What was not trained is left out, so that a warm start cannot copy it by accident.
            parts=step.trained_parts,
        )
        self.record.note("steps", steps)
        self.record.note("views", step.views if step.contrastive else None)
        self.record.note("collapse", signs)
        self.record.note("weights", file_fingerprint(self.weights))
        self.record.write(self.folder)


def _batches(dataset: Dataset, device: torch.device, *, size: int, seed: int) -> Iterator[torch.Tensor]:
    """This process's part of every batch; the last may be shorter.

    In random order: ids go by hospital or camera, and images of one kind would tell too small a variance.
    """
    count = len(dataset)  # type: ignore[arg-type]
    order = numpy_stream(seed, "recalibration").permutation(count)
    for start in range(0, count, size):
        items = [dataset[int(order[start + i])]["image"] for i in ranks.part(min(size, count - start))]
        yield as_unit_range(torch.stack(items).to(device)).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def recalibrate(network: PretrainingNetwork, batches: Iterable[torch.Tensor], *, parts: Sequence[str]) -> None:
    """Estimate BatchNorm's running statistics anew on clean images: training saw views and distortions alone.

    Args:
        network: changed in place and left in evaluation mode.
        batches: clean images (B, C, W, H) in [0, 1], one pass.
        parts: names of the U-Net's parts that were trained, such as ``encoder`` or ``decoder.0``.
    """
    trained = tuple(f"{part}." for part in parts)
    norms = [
        module
        for name, module in network.unet.named_modules()
        if isinstance(module, _BatchNorm) and name.startswith(trained)
    ]
    # The shortest way through all that was trained.
    forward: Callable[[torch.Tensor], object] = network.describe
    if "decoder" in parts:
        forward = network.restore
    elif len(parts) > 1:
        forward = network.project_places
    momenta = [norm.momentum for norm in norms]
    network.eval()  # without dropout: it would be chance that no seed reaches, and evaluation has none
    for norm in norms:
        norm.train()
        norm.reset_running_stats()
    seen = 0
    for images in batches:
        count = own_rows(len(images)).total
        if count > 1:  # a batch of one image has no spread at 1x1 and would be refused
            seen += count
            for norm in norms:
                norm.momentum = count / seen  # the mean over all images, also where the last batch is short
            forward(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


@torch.no_grad()
def collapse_signs(
    network: PretrainingNetwork, images: torch.Tensor, *, step: PretrainingStep, batch_size: int = LARGEST_BATCH
) -> dict[str, Any]:
    """Figures that tell whether the training collapsed, with a sentence under ``warnings`` for each sign.

    Args:
        network: in evaluation mode.
        images: clean held-out images (N, C, W, H) in [0, 1], at least two.
        step: tells which objectives were trained.
        batch_size: images of a forward pass.

    Returns:
        ``descriptor_spread``: mean standard deviation of the coordinates of length-1 descriptors, times sqrt(D): 1 for
        directions spread evenly, 0 for one constant vector. ``effective_rank``: exponential of the entropy of the
        descriptors' singular values (Roy and Vetterli 2007), 1 to D. ``restored_spread``: standard deviation of
        restored pixels across images over that of the originals.
    """
    signs: dict[str, Any] = {"warnings": []}
    chunks = images.split(batch_size)
    described = torch.cat([network.describe(chunk).float() for chunk in chunks])
    unit = torch.nn.functional.normalize(described, dim=1)
    signs["descriptor_spread"] = float(unit.std(dim=0).mean() * unit.shape[1] ** 0.5)
    singular = torch.linalg.svdvals(described - described.mean(dim=0))
    share = singular / singular.sum().clamp_min(1e-12)
    signs["effective_rank"] = float(torch.exp(-(share * share.clamp_min(1e-12).log()).sum()))
    few = len(images) < FEWEST  # whose rank is low whatever the network
    if signs["descriptor_spread"] < 0.01 or (signs["effective_rank"] < 2 and not few):
        signs["warnings"].append(
            "the descriptors are nearly the same for every image (collapse): lower learning_rate, or check that the "
            "pool is not one picture many times"
        )
    if step.restorative:
        restored = torch.cat([network.restore(chunk) for chunk in chunks])
        signs["restored_spread"] = float(restored.std(dim=0).mean() / images.std(dim=0).mean().clamp_min(1e-6))
        if signs["restored_spread"] < 0.1:
            signs["warnings"].append("the restored images are nearly constant (collapse): lower learning_rate")
    return signs
