"""A fine-tuned network from its weights."""

from __future__ import annotations

import os

from bundle.data.modality import Modality
from bundle.network import UNet
from bundle.weights import Weights, check_settings, load_weights


def fine_tuned_network(weights: Weights) -> UNet:
    """The network of fine-tuned weights, on the processor, as it was left by its training.

    Raises:
        RuntimeError: they do not fill it.
        KeyError: they do not tell what network they are of.
    """
    about = weights.settings
    unet = UNet(about["in_channels"], about["out_channels"], about["filters"], dropout=float(about.get("dropout", 0.0)))
    unet.load_state_dict(weights.model)
    return unet


def load_fine_tuned(path: str | os.PathLike[str], modality: Modality) -> UNet:
    """The network whose weights ``path`` holds, see :func:`fine_tuned_network`.

    Raises:
        ValueError: weights of another modality or canvas, or that do not fill the network.
    """
    weights = load_weights(path)
    wanted = {"in_channels": modality.channels, "out_channels": modality.classes, "size": modality.size}
    check_settings(path, weights.settings, {"modality": modality.name, "labels": list(modality.labels), **wanted})
    try:
        return fine_tuned_network(weights)
    except (RuntimeError, KeyError) as error:
        first = str(error).splitlines()[:2]  # torch lists every tensor
        told = " ".join(line.strip() for line in first)[:300]
        raise ValueError(f"{path} does not fill the network, so it is no fine-tuned model: {told}") from None
