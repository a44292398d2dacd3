"""Where a pretraining starts: new or continued weights."""

from __future__ import annotations

import logging
import os

import torch

from bundle.network import PretrainingNetwork, UNet
from bundle.numerics import prepare_network
from bundle.run.seeds import derive_seed
from bundle.weights import check_settings, load_weights

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
        ValueError: ``init`` was made for other channels or widths.
    """
    torch.manual_seed(derive_seed(seed, "weights"))
    fresh = UNet(unet.in_channels, unet.out_channels, unet.filters, dropout=unet.dropout.p)
    network = PretrainingNetwork(fresh)
    if init:
        weights = load_weights(init)
        check_settings(init, weights.settings, {"in_channels": fresh.in_channels, "filters": list(fresh.filters)})
        own = fresh.state_dict()
        model = {name: t for name, t in weights.model.items() if name in own and own[name].shape == t.shape}
        fresh.load_state_dict(model, strict=False)
        for name, state in weights.heads.items():
            getattr(network, name).load_state_dict(state)
        logger.info("goes on from %s: %d tensors of the U-Net, heads %s", init, len(model), sorted(weights.heads))
    prepare_network(network, device)
    return network
