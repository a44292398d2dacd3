"""A stand-in for ``model.pt`` where nothing is trained yet: a bundle without that file is none to MONAI Label."""

from __future__ import annotations

from pathlib import Path

import torch

from bundle.data.modality import load_modality
from bundle.label.models import UNTRAINED
from bundle.network import UNet
from bundle.warm_start import initial_network
from bundle.weights import save_weights


def write_stand_in(path: Path, modality: str, weights: str | None) -> Path:
    """Write the network that the first training starts from. The app refuses to pre-draw with it.

    Args:
        path: the weight file to write.
        modality: name or path.
        weights: SSL weights.

    Raises:
        ValueError: no weights.
    """
    kind = load_modality(modality)
    if not weights:
        raise ValueError(f"the bundle ships no weights for {kind.name}: give --weights, from `coldstart pretrain`")
    network = initial_network(UNet(kind.channels, kind.classes), torch.device("cpu"), scope="all", weights=weights)
    return save_weights(path, network, {"modality": kind.name, "size": kind.size, UNTRAINED: True})
