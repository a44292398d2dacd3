"""What networks say of one image, several times: the material of every criterion of uncertainty.

One image at a time: its opinions are a batch of their own, and its chance comes from its id, so no score depends on
which images are scored with it or in which order.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from bundle.data.augmentation import random_intensity
from bundle.data.modality import Augmentation, Modality
from bundle.network import UNet
from bundle.numerics import prepare_network
from bundle.run.seeds import derive_seed
from bundle.segmentation.fine_tuned import load_fine_tuned
from bundle.segmentation.mirroring import mirrorings
from bundle.selection import find_criterion


class OpinionNetwork(nn.Module):
    """Probabilities of one image, once or several times: (1, C, W, H) in [0, 1] to (1, P, classes, W, H).

    Args:
        networks: the models; more than one for the kind ``ensemble`` alone.
        kind: one of ``bundle.selection.criterion.KINDS``.
        count: opinions of the kinds ``dropout`` and ``views``.
        limits: what the modality allows, for the kind ``views``.
    """

    def __init__(
        self, networks: Sequence[UNet], kind: str, *, count: int = 1, limits: Augmentation | None = None
    ) -> None:
        super().__init__()
        if kind == "ensemble" and len(networks) < 2:
            raise ValueError(f"an ensemble needs two models at least, got {len(networks)}: give --model again")
        if kind != "ensemble" and len(networks) != 1:
            raise ValueError(f"opinions of kind {kind!r} are one model's, got {len(networks)} models")
        if kind == "dropout" and networks[0].dropout.p == 0:
            raise ValueError("this model was trained without dropout, so its passes would all be equal; train with it")
        self.networks, self.kind, self.count = nn.ModuleList(networks), kind, count
        self.limits = limits or Augmentation()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """The opinions; chance comes from torch's global generators."""
        if len(image) != 1:
            raise ValueError(f"opinions are formed of one image at a time, got a batch of {len(image)}")
        first: Any = self.networks[0]
        if self.kind == "heads":
            logits = first.forward_heads(image)[0]
        elif self.kind == "dropout":
            logits = first.forward_passes(image, self.count)
        elif self.kind == "views":
            logits = self._of_views(first, image)
        else:
            logits = torch.cat([network(image) for network in self.networks])
        return logits.float().softmax(dim=1)[None]

    def _of_views(self, network: nn.Module, image: torch.Tensor) -> torch.Tensor:
        """Every mirroring that the modality allows in turn, the image itself first, and from the second turn on with
        another gamma, contrast, brightness and colour. What else a modality allows could not be undone without loss."""
        ways = mirrorings(self.limits.flip)
        chosen = [ways[view % len(ways)] for view in range(self.count)]
        views = image.repeat(self.count, 1, 1, 1)
        plain = len(ways)
        if self.count > plain:
            views[plain:] = random_intensity(views[plain:], self.limits)
        logits = network(torch.cat([view[None].flip(axis) for view, axis in zip(views, chosen, strict=True)]))
        return torch.cat([one[None].flip(axis) for one, axis in zip(logits, chosen, strict=True)])


def opinion_network(
    models: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    modality: Modality,
    device: torch.device,
    *,
    criterion: str,
    passes: int | None = None,
) -> OpinionNetwork:
    """The opinions that ``criterion`` looks at, of fine-tuned models, in evaluation mode on ``device``.

    Args:
        models: a weight file, or several for an ensemble.
        passes: passes or views; the criterion's own number where None.

    Raises:
        ValueError: weights of another modality or size or that are not whole, or what :class:`OpinionNetwork` refuses.
    """
    chosen = find_criterion(criterion)
    count = chosen.passes(passes)
    paths = [models] if isinstance(models, (str, os.PathLike)) else list(models)
    networks = [load_fine_tuned(path, modality) for path in paths]
    found = OpinionNetwork(networks, chosen.opinions, count=count or 1, limits=modality.augmentation)
    prepare_network(found, device)
    return found.eval()


class ImageSeed:
    """MONAI's ``prepare_batch`` for batches of one image, of ``ReadAhead``: seeds all chance by the image's id.

    Args:
        seed: seed of the run.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def __call__(
        self, batch: dict[str, Any], device: str | torch.device | None = None, non_blocking: bool = False, **_: Any
    ) -> tuple[torch.Tensor, None]:
        """The image (1, C, W, H) in [0, 1] on ``device``."""
        (item,) = batch["items"]
        torch.manual_seed(derive_seed(self.seed, "opinions", item["id"]))
        return batch["image"].to(device, non_blocking=non_blocking), None
