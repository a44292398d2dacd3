"""A warm start: copying pretrained weights by name and shape, and saying key by key what came of it."""

from __future__ import annotations

import dataclasses
import logging
import os

import torch

from bundle.network import UNet
from bundle.numerics import prepare_network
from bundle.run.seeds import derive_seed
from bundle.weights import check_settings, load_weights

logger = logging.getLogger(__name__)

SCOPES = ("all", "encoder", "none")


@dataclasses.dataclass(frozen=True)
class WarmStart:
    """What a warm start did.

    Attributes:
        loaded: names of the tensors that were copied.
        skipped: name of each tensor of the network that kept its drawn values, and why.
        unused: name of each tensor of the file that has no use, and why.
    """

    loaded: tuple[str, ...]
    skipped: dict[str, str]
    unused: dict[str, str]

    def summary(self) -> str:
        """One line for the log."""
        return f"{len(self.loaded)} tensors loaded, {len(self.skipped)} kept as drawn, {len(self.unused)} unused"


def warm_start(network: UNet, weights: str | os.PathLike[str], scope: str = "all") -> WarmStart:
    """Copy weights into ``network`` wherever name and shape agree.

    Args:
        network: changed in place.
        weights: a weight file, of self-supervision or of an earlier fine-tuning.
        scope: ``all`` that the file offers (SAAL), or the ``encoder`` alone (CA).

    Returns:
        The account, which is logged as well.

    Raises:
        ValueError: an unknown scope, weights for other channels or widths, or not one tensor that fits.
    """
    if scope not in SCOPES[:2]:
        raise ValueError(f"the scope of a warm start must be one of {', '.join(SCOPES[:2])}, got {scope!r}")
    found = load_weights(weights)
    check_settings(weights, found.settings, {"in_channels": network.in_channels, "filters": list(network.filters)})
    own = network.state_dict()
    chosen: dict[str, torch.Tensor] = {}
    unused: dict[str, str] = {}
    for name, tensor in found.model.items():
        if scope == "encoder" and not name.startswith("encoder."):
            unused[name] = "outside the encoder"
        elif name not in own:
            unused[name] = "no such tensor in the network"
        elif own[name].shape != tensor.shape:
            unused[name] = f"shape {tuple(tensor.shape)} for {tuple(own[name].shape)}"
        else:
            chosen[name] = tensor
    if not chosen:
        raise ValueError(
            f"nothing in {weights} fits the network ({len(unused)} tensors unused): is it a weight file of this bundle?"
        )
    network.load_state_dict(chosen, strict=False)
    skipped = {name: unused.get(name, "not in the file") for name in own if name not in chosen}
    account = WarmStart(tuple(chosen), skipped, unused)
    logger.info("warm start (%s) from %s: %s", scope, weights, account.summary())
    for name, reason in skipped.items():
        logger.info("kept as drawn: %s (%s)", name, reason)
    for name, reason in unused.items():
        logger.debug("unused: %s (%s)", name, reason)
    return account


def drawn_anew(network: UNet, *, seed: int) -> UNet:
    """A network of the same architecture whose parameters are drawn from ``seed``, whatever was built before."""
    torch.manual_seed(derive_seed(seed, "weights"))
    return UNet(network.in_channels, network.out_channels, network.filters, dropout=network.dropout.p)


def initial_network(
    network: UNet,
    device: torch.device,
    *,
    scope: str = "none",
    weights: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> UNet:
    """The network to fine-tune, on its device: every parameter drawn from ``seed``, then warm-started.

    Args:
        network: gives the architecture; its parameters are drawn anew, so that runs of one seed share them.
        device: where to train.
        scope: ``all``, ``encoder`` or ``none``.
        weights: the weight file of the warm start; needed unless ``scope`` is ``none``.
        seed: seed of the run.

    Raises:
        ValueError: see :func:`warm_start`.
    """
    if scope not in SCOPES:
        raise ValueError(f"warm_start must be one of {', '.join(SCOPES)}, got {scope!r}")
    fresh = drawn_anew(network, seed=seed)
    if scope != "none":
        if not weights:
            raise ValueError(f"warm_start is {scope!r}, so it needs weights: give ssl_weights, or warm_start none")
        warm_start(fresh, weights, scope)
    prepare_network(fresh, device)
    return fresh
