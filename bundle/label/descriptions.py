"""Vectors of a pool that grows: every image is described once, and again only when its file or the weights change."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import Dataset
from monai.transforms import Compose
from tqdm import tqdm

from bundle.data.modality import Modality
from bundle.data.read_ahead import ReadAhead
from bundle.data.sampling import as_unit_range
from bundle.data.transforms import preprocessing
from bundle.embedding import Embeddings
from bundle.numerics import PrecisionInferer
from bundle.pretraining.descriptor import descriptor_network
from bundle.run.atomic import write_json
from bundle.run.quarantine import Quarantine
from bundle.run.record import file_fingerprint

logger = logging.getLogger(__name__)

BATCH = 64  # images; bounds the memory, the vectors do not depend on it
KEPT_EVERY = 16  # batches; a killed run loses at most so many
_STAMPS = "stamps"


@dataclasses.dataclass(frozen=True)
class PoolImage:
    """One image of the pool.

    Attributes:
        id: under which the datastore knows it.
        path: its file, or a folder that holds one DICOM file.
    """

    id: str
    path: Path

    @property
    def stamp(self) -> str:
        """Size and time of change of the file, which differ when it was replaced; empty where it is gone."""
        try:
            parts = [self.path, *sorted(self.path.iterdir())] if self.path.is_dir() else [self.path]
            return ",".join(f"{part.stat().st_size}:{part.stat().st_mtime_ns}" for part in parts)
        except OSError:
            return ""


def read_batches(
    images: Sequence[PoolImage], preprocess: Compose, quarantine: Quarantine, *, batch_size: int, title: str
) -> Iterator[dict[str, Any]]:
    """Batches of readable images as :class:`~bundle.data.read_ahead.ReadAhead` gives them, items with their ``id``.

    The others go to ``quarantine``, under their ids, when all are read.
    """
    entries = [{"id": image.id, "image": str(image.path)} for image in images]
    loader = ReadAhead(Dataset(entries, preprocess), batch_size)
    with tqdm(total=len(images), desc=title, unit="image", disable=None) as bar:
        for batch in loader:
            yield batch
            bar.update(len(batch["items"]))
    id_of = {entry["image"]: entry["id"] for entry in entries}
    for row in loader.aside.rows:
        quarantine.add(id_of[row["path"]], row["reason"])


class Descriptions:
    """The vectors of a datastore's images, kept in a folder as :class:`~bundle.embedding.Embeddings`.

    Args:
        folder: where they are kept.
        weights: of the encoder. Vectors of other weights are dropped.
        modality: how images are read.
        device: where to compute.
    """

    def __init__(self, folder: Path, weights: Path, modality: Modality, device: torch.device) -> None:
        self.folder, self.weights, self.modality, self.device = folder, weights, modality, device
        self._made_by = {"weights": file_fingerprint(weights), "modality": modality.name, "size": modality.size}

    def update(self, images: Sequence[PoolImage], quarantine: Quarantine) -> Embeddings | None:
        """Describe what is new or changed among ``images``, and give the vectors of all that can be read.

        Unreadable images go to ``quarantine``; they are tried again when their file changes. None where no image can be
        read. A killed run goes on where it was.
        """
        vectors, stamps, unreadable = self._load()
        now = {image.id: image.stamp for image in images}
        vectors = {i: vector for i, vector in vectors.items() if stamps[i] == now.get(i)}
        unreadable = {i: kept for i, kept in unreadable.items() if kept[0] == now.get(i)}
        for identifier, (_, reason) in unreadable.items():
            quarantine.add(identifier, reason)
        todo = sorted((i for i in images if i.id not in vectors and i.id not in unreadable), key=lambda i: i.id)
        if todo:
            network = descriptor_network(self.weights, self.modality, self.device)
            inferer = PrecisionInferer(self.device, "fp32")
            before = len(quarantine)
            preprocess = preprocessing(self.modality, cached=True)
            batches = read_batches(todo, preprocess, quarantine, batch_size=BATCH, title="describe")
            for number, batch in enumerate(batches, start=1):
                with torch.inference_mode():
                    described = inferer(as_unit_range(batch["image"]), network).cpu().numpy()
                vectors |= {item["id"]: vector for item, vector in zip(batch["items"], described, strict=True)}
                if number % KEPT_EVERY == 0:
                    self._save(vectors, now, unreadable)
            unreadable |= {row["path"]: (now[row["path"]], row["reason"]) for row in quarantine.rows[before:]}
            self._save(vectors, now, unreadable)
            logger.info("described %d images, %d cannot be read", len(vectors), len(unreadable))
        return _embeddings(vectors) if vectors else None

    def unreadable(self) -> set[str]:
        """Ids of the images that could not be read when they were last looked at."""
        return set(self._load_unreadable())

    def may_read_again(self, images: Sequence[PoolImage]) -> bool:
        """Whether one of ``images`` could not be read and has another file now."""
        kept = self._load_unreadable()
        return any(image.id in kept and kept[image.id][0] != image.stamp for image in images)

    def _load(self) -> tuple[dict[str, np.ndarray], dict[str, str], dict[str, tuple[str, str]]]:
        """Id to vector, id to stamp, and id to (stamp, reason) of what could not be read."""
        if not (self.folder / "ids.txt").is_file():
            return {}, {}, self._load_unreadable()
        kept = Embeddings.load(self.folder)
        if {name: kept.provenance.get(name) for name in self._made_by} != self._made_by:
            return {}, {}, {}
        vectors = dict(zip(kept.ids, np.asarray(kept.vectors), strict=True))
        return vectors, dict(kept.provenance[_STAMPS]), self._load_unreadable()

    def _load_unreadable(self) -> dict[str, tuple[str, str]]:
        file = self._unreadable_file
        if not file.is_file():
            return {}
        return {i: (stamp, reason) for i, (stamp, reason) in json.loads(file.read_text(encoding="utf-8")).items()}

    def _save(
        self, vectors: Mapping[str, np.ndarray], stamps: Mapping[str, str], unreadable: Mapping[str, Any]
    ) -> None:
        write_json(self._unreadable_file, unreadable)
        if vectors:
            provenance = {**self._made_by, _STAMPS: {i: stamps[i] for i in sorted(vectors)}}
            _embeddings(vectors, provenance).save(self.folder, overwrite=True)

    @property
    def _unreadable_file(self) -> Path:
        return self.folder.with_name("unreadable.json")


def _embeddings(vectors: Mapping[str, np.ndarray], provenance: Mapping[str, Any] | None = None) -> Embeddings:
    ids = sorted(vectors)
    return Embeddings(tuple(ids), np.stack([vectors[i] for i in ids]), provenance or {})
