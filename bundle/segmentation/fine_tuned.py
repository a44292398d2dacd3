"""A fine-tuned network from its weight file."""

from __future__ import annotations

import os

from bundle.data.modality import Modality
from bundle.network import UNet
from bundle.weights import check_settings, load_weights


def load_fine_tuned(path: str | os.PathLike[str], modality: Modality) -> UNet:
    """The network whose weights ``path`` holds, on the processor, as it was left by its training.

    Raises:
        ValueError: weights of another modality or canvas, or that do not fill the network.
    """
    weights = load_weights(path)
    check_settings(path, weights.settings, {"modality": modality.name, "size": modality.size})
    settings = weights.settings
    unet = UNet(
        modality.channels, modality.classes, tuple(settings["filters"]), dropout=float(settings.get("dropout", 0.0))
    )
    try:
        unet.load_state_dict(weights.model)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fill the network, so it is no fine-tuned model: {error}") from None
    return unet
