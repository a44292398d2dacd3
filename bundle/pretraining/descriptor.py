"""From images to descriptors: the encoder alone, and the writer of what it gives."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import nn
from tqdm import tqdm

from bundle.data.modality import Modality
from bundle.data.sampling import as_unit_range
from bundle.embedding import PROVENANCE_FILE, Embeddings
from bundle.network import UNet
from bundle.numerics import prepare_network
from bundle.run import ranks
from bundle.run.atomic import OutputExists, atomic_folder
from bundle.run.collectives import stack_on_first
from bundle.run.quarantine import Quarantine
from bundle.run.record import file_fingerprint, images_fingerprint, versions
from bundle.weights import check_settings, load_weights

FEATURES = ("scales", "bottleneck")


class Descriptor(nn.Module):
    """Images to vectors by the encoder of a U-Net: (B, C, W, H) in [0, 1] to (B, D).

    Args:
        unet: the network whose encoder describes.
        features: ``scales``, see :meth:`UNet.describe_scales`; or ``bottleneck``, averaged (SAAL, section 2.2), which
            is also what contrast trains (CA).
    """

    def __init__(self, unet: UNet, features: str = "scales") -> None:
        super().__init__()
        if features not in FEATURES:
            raise ValueError(f"features must be one of {', '.join(FEATURES)}, got {features!r}")
        self.unet, self.features = unet, features

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Descriptors of a batch."""
        return self.unet.describe_scales(image) if self.features == "scales" else self.unet.describe(image)


def descriptor_network(
    weights: str | os.PathLike[str], modality: Modality, device: torch.device, *, features: str = "scales"
) -> Descriptor:
    """A descriptor with the encoder of a weight file, in evaluation mode on ``device``.

    Raises:
        ValueError: the weights are of another modality, or lack a tensor of the encoder, or ``features`` is unknown. Of
            another canvas they may be: a descriptor averages over it.
    """
    found = load_weights(weights)
    check_settings(weights, found.settings, {"modality": modality.name, "in_channels": modality.channels})
    if "filters" not in found.settings:
        raise ValueError(f"{weights} must tell the widths of its network (settings, filters): give this bundle's")
    unet = UNet(modality.channels, modality.classes, tuple(found.settings["filters"]))
    encoder = {name.removeprefix("encoder."): t for name, t in found.model.items() if name.startswith("encoder.")}
    try:
        unet.encoder.load_state_dict(encoder)
    except RuntimeError as error:
        raise ValueError(f"{weights} does not hold a whole encoder: {error}") from None
    network = Descriptor(unet, features)
    prepare_network(network, device)
    return network.eval()


def image_batch(
    batch: dict[str, Any], device: str | torch.device | None = None, non_blocking: bool = False, **_: Any
) -> tuple[torch.Tensor, None]:
    """MONAI's ``prepare_batch`` for compact images without labels."""
    return as_unit_range(batch["image"].to(device, non_blocking=non_blocking)), None


class WriteEmbeddings:
    """Engine handler over batches of ``bundle.data.read_ahead.ReadAhead``: gathers the descriptors and writes them.

    Args:
        folder: becomes the embeddings folder, as a whole or not at all, when all descriptors are there. An image that
            cannot be read has none, and is in the folder's ``quarantine.csv`` instead.
        entries: the datalist entries, for the fingerprint of the data.
        weights: the weight file, for its fingerprint.
        settings: noted in the provenance.
        overwrite: replace a folder that is there.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        entries: list[dict[str, Any]],
        weights: str | os.PathLike[str],
        settings: Mapping[str, Any],
        overwrite: bool = False,
    ) -> None:
        self.folder, self.entries, self.weights = Path(folder), entries, weights
        self.settings, self.overwrite = dict(settings), overwrite
        self._ids: list[str] = []
        self._vectors: list[np.ndarray] = []

    def attach(self, engine: Engine) -> None:
        """Follow ``engine``."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._gather)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self, _: Engine) -> None:
        if self.folder.exists() and not self.overwrite:
            raise OutputExists(self.folder)
        self._ids, self._vectors = [], []
        own = len(ranks.part(len(self.entries)))
        self._bar = tqdm(total=own, desc="embed", unit="image", disable=None if ranks.is_first() else True)

    def _gather(self, engine: Engine) -> None:
        output: Any = engine.state.output
        batch: Any = engine.state.batch
        vectors = output["pred"].cpu().numpy().astype(np.float32)
        self._ids += [item["id"] for item in batch["items"]]
        self._vectors.append(vectors)
        self._bar.update(len(vectors))

    def _write(self, engine: Engine) -> None:
        self._bar.close()
        unreadable: Quarantine = engine.data_loader.aside  # type: ignore[attr-defined]
        if ranks.repeats(len(self.entries)):
            self._ids, self._vectors, unreadable.rows = [], [], []
        ids = ranks.gather_items(self._ids)
        unreadable.rows = ranks.gather_items(unreadable.rows)
        if not ids:
            first = unreadable.rows[0]
            raise ValueError(
                f"none of the {len(unreadable)} images can be read, the first is {first['path']}: {first['reason']}"
            )
        self._save(ids, stack_on_first(self._own_rows()), unreadable)

    def _own_rows(self) -> np.ndarray:
        """Descriptors (n, D) of this process, also where it could read none of its images."""
        dimensions = max(ranks.gather_items([vectors.shape[1] for vectors in self._vectors[:1]]))
        return np.concatenate([np.empty((0, dimensions), np.float32), *self._vectors])

    @ranks.only_first
    def _save(self, ids: list[str], vectors: np.ndarray, unreadable: Quarantine) -> None:
        provenance = {
            "weights": file_fingerprint(self.weights),
            "data": images_fingerprint(self.entries),
            "settings": self.settings,
            "versions": versions(),
        }
        with atomic_folder(self.folder, overwrite=self.overwrite, mark=PROVENANCE_FILE) as temporary:
            Embeddings(tuple(ids), vectors, provenance).write(temporary)
            unreadable.write(temporary, becomes=self.folder)
