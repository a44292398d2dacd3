"""Weight files: a state dict and the settings it belongs to, nothing that could run."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import nn

from bundle.network import UNet, network_settings
from bundle.run import ranks
from bundle.run.atomic import write_tensors
from bundle.run.stages import bundle_root

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Weights:
    """What a weight file holds.

    Attributes:
        model: the U-Net's state dict, or the trained part of it.
        settings: ``modality``, ``in_channels``, ``out_channels``, ``filters`` and what else the training recorded.
        heads: state dicts of self-supervision's heads, by name; empty for fine-tuned weights.
        reference: what the training images looked like to the network (:mod:`bundle.segmentation.domain`); empty where
            none was taken.
    """

    model: dict[str, torch.Tensor]
    settings: dict[str, Any]
    heads: dict[str, dict[str, torch.Tensor]]
    reference: dict[str, torch.Tensor] = dataclasses.field(default_factory=dict)


def save_weights(
    path: str | os.PathLike[str],
    network: UNet,
    settings: Mapping[str, Any],
    *,
    heads: Mapping[str, nn.Module] | None = None,
    reference: Mapping[str, torch.Tensor] | None = None,
    parts: tuple[str, ...] | None = None,
    half: bool = False,
) -> Path:
    """Write weights atomically in the layout that MONAI's ``CheckpointLoader`` and MONAI Label read (key ``model``).

    Args:
        path: the file.
        network: the U-Net.
        settings: plain values to keep beside the weights.
        heads: further modules by name.
        reference: of the training images, see :class:`Weights`.
        parts: names of the U-Net's parts to keep, such as ``encoder`` or ``decoder.0``; all where None.
        half: float16, half the size; loading gives float32 again.
    """
    kept = None if parts is None else tuple(f"{part}." for part in parts)
    state = {name: t for name, t in network.state_dict().items() if kept is None or name.startswith(kept)}
    content: dict[str, Any] = {"model": _portable(state, half), "settings": network_settings(network) | dict(settings)}
    if heads:
        content["heads"] = {name: _portable(module.state_dict(), half) for name, module in heads.items()}
    if reference:
        content["reference"] = _portable(reference, half=False)  # inverse spreads may leave the range of float16
    return write_tensors(path, content)


def load_weights(path: str | os.PathLike[str]) -> Weights:
    """Read a weight file, tensors and plain values alone (``weights_only``), in float32 on the processor.

    Raises:
        ValueError: the file is not one of ours.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no weight file {path}: run the pretrain or train stage, or give another path"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{path} is not a weight file that can be read safely: {type(error).__name__}") from error
    state = content.get("model") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise ValueError(f"{path} must hold a dictionary with the state dict under 'model'")
    return Weights(
        model=_full(content["model"]),
        settings=dict(content.get("settings", {})),
        heads={name: _full(state) for name, state in content.get("heads", {}).items()},
        reference=_full(content.get("reference", {})),
    )


def halve_weights(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> Path:
    """Copy a weight file in float16, half the size, for shipping; everything else in it stays.

    Raises:
        ValueError, FileNotFoundError: see :func:`load_weights`.
    """
    weights = load_weights(source)
    content: dict[str, Any] = {"model": _portable(weights.model, half=True), "settings": weights.settings}
    if weights.heads:
        content["heads"] = {name: _portable(state, half=True) for name, state in weights.heads.items()}
    if weights.reference:
        content["reference"] = _portable(weights.reference, half=False)
    return write_tensors(target, content)


def check_settings(path: str | os.PathLike[str], found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse weights that were made for something else, naming what differs.

    Raises:
        ValueError: an entry of ``wanted`` is in ``found`` with another value.
    """
    differ = [
        f"{name} is {found[name]!r}, not {value!r}" for name, value in wanted.items() if found.get(name, value) != value
    ]
    if differ:
        raise ValueError(f"{path} does not fit: {'; '.join(differ)}. Give weights made with the same settings")


class LoadWeights:
    """Engine handler: fills a network from a weight file when the engine starts.

    Args:
        path: the weight file.
        network: filled in place; every tensor must be in the file.
        settings: what the file must agree with, such as ``modality``.
    """

    def __init__(self, path: str | os.PathLike[str], network: nn.Module, settings: Mapping[str, Any]) -> None:
        self.path, self.network, self.settings = path, network, dict(settings)

    def attach(self, engine: Engine) -> None:
        """Load at the start of ``engine``."""
        engine.add_event_handler(Events.STARTED, self._load)

    def _load(self, _: Engine) -> None:
        weights = load_weights(self.path)
        own = network_settings(self.network) if isinstance(self.network, UNet) else {}
        check_settings(self.path, weights.settings, own | self.settings)
        try:
            self.network.load_state_dict(weights.model)
        except RuntimeError as error:
            raise ValueError(f"{self.path} does not fill the network: {error}") from None
        logger.info("weights of %s", self.path)


class SaveWeights:
    """Engine handler: writes the network with its settings, at the end and whenever validation found it best so far.

    Args:
        path: the weight file of the last step.
        network: the U-Net.
        settings: travel with the weights.
        best: the weight file of the best epoch, written when :meth:`saw` reports a higher score; None for none.
        reference: takes the reference of the training images that goes into the files; None for none.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        network: UNet,
        settings: Mapping[str, Any],
        best: str | os.PathLike[str] | None = None,
        reference: Callable[[UNet], Mapping[str, torch.Tensor]] | None = None,
    ) -> None:
        self.path, self.network, self.settings, self.best = path, network, dict(settings), best
        self.reference = reference
        self.best_score = float("-inf")

    def attach(self, engine: Engine) -> None:
        """Save when ``engine`` has completed."""
        save = ranks.only_first(self._save)
        engine.add_event_handler(Events.COMPLETED, lambda _: save(self.path, self.settings))

    def saw(self, score: float) -> None:
        """Tell the score of the current weights, higher is better."""
        if self.best is not None and score > self.best_score:
            self.best_score = score
            ranks.only_first(self._save)(self.best, self.settings | {"validation_dice": round(score, 5)})

    def state_dict(self) -> dict[str, Any]:
        """The best score so far."""
        return {"best_score": self.best_score}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from this best score."""
        self.best_score = state["best_score"]

    def _save(self, path: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
        reference = self.reference(self.network) if self.reference is not None else None
        save_weights(path, self.network, settings, reference=reference)


def _portable(state: Mapping[str, torch.Tensor], half: bool) -> dict[str, torch.Tensor]:
    return {
        # A plain contiguous copy: channels_last strides would travel with the file.
        name: (t.detach().cpu().half() if half and t.dtype == torch.float32 else t.detach().cpu()).contiguous().clone()
        for name, t in state.items()
    }


def _full(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: t.float() if t.dtype == torch.float16 else t for name, t in state.items()}


def shipped_weights(kind: str, modality: str) -> Path | None:
    """The bundle's own weight file of a modality, or None where it ships none.

    Args:
        kind: ``model`` or ``model_ssl_pretrained``.
        modality: name or path; a file named for it comes before the unnamed one, which is the bundle's own modality.
    """
    folder, name = bundle_root() / "models", Path(modality).stem
    named, unnamed = folder / f"{kind}_{name}.pt", folder / f"{kind}.pt"
    if named.is_file():
        return named
    return unnamed if unnamed.is_file() and load_weights(unnamed).settings.get("modality") == name else None
