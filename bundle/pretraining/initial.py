"""Where a pretraining starts: new or continued weights."""

from __future__ import annotations

import logging
import os

import torch

from bundle.network import PretrainingNetwork, UNet
from bundle.numerics import prepare_network
from bundle.warm_start import drawn_anew, warm_start
from bundle.weights import load_weights

logger = logging.getLogger(__name__)


def pretraining_network(
    unet: UNet, device: torch.device, *, init: str | os.PathLike[str] | None = None, seed: int = 0
) -> PretrainingNetwork:
    """The network to pretrain on its device: all parameters drawn from ``seed``, or continued from SSL weights.

    Args:
        unet: gives architecture; its parameters are drawn anew.
        device: where to train.
        init: a weight file with a trained encoder, and heads where it has them.
        seed: seed of the initial weights.

    Raises:
        ValueError: ``init`` was made for other channels or widths, or has not one tensor that fits.
    """
    fresh = drawn_anew(unet, seed=seed)
    network = PretrainingNetwork(fresh)
    if init:
        warm_start(fresh, init)
        heads = load_weights(init).heads
        for name, state in heads.items():
            getattr(network, name).load_state_dict(state)
        logger.info("goes on with the heads of %s: %s", init, ", ".join(sorted(heads)) or "none, they are drawn")
    prepare_network(network, device)
    return network
