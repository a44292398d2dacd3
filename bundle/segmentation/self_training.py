"""Self-training: what a first model believes of the unlabelled pool teaches a second one along with the labels.

Xie et al. (CVPR 2020, arXiv:1911.04252, algorithm 1) and, for segmentation, Yang et al. (CVPR 2022, arXiv:2106.05095,
section 3.1): the teacher looks at clean images, the student learns from augmented ones and starts anew. All of the pool
teaches, with the probabilities as they are, so that a pixel counts by how sure the teacher is of it. That is the
difference from DSAL's weak labeller (``bundle.selection.weak_labeller``), which takes the surest images alone, where
little is to be learned, and makes their masks certain.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.data import DataLoader, Dataset
from torch.nn.functional import one_hot
from tqdm import tqdm

from bundle.data.datalist import Datalist, entries_from, load_datalist
from bundle.data.modality import Modality
from bundle.data.read_ahead import ReadAhead
from bundle.data.sampling import HalvesSampler, as_unit_range, endless_loader
from bundle.data.transforms import preprocessing
from bundle.numerics import PrecisionInferer, prepare_network
from bundle.run import ranks
from bundle.run.collectives import gather
from bundle.run.record import content_fingerprint, file_fingerprint
from bundle.run.seeds import numpy_stream
from bundle.segmentation.fine_tuned import load_fine_tuned
from bundle.segmentation.mirroring import MirroredInferer

logger = logging.getLogger(__name__)

MOST = 20_000  # images, 1.3 GB of 128x128 RGB with one label; 800 steps of 8 look at 6400
BATCH = 32  # images; bounds the memory, what is believed does not depend on it
Item = dict[Hashable, Any]


class TaughtImages(Dataset):
    """Images, and what a teacher believes of them.

    Args:
        images: (N, C, S, S) uint8.
        beliefs: (N, labels, S, S) uint8, probabilities in 0..255.
        fingerprint: of the teacher and of the images that it looked at.
    """

    def __init__(self, images: torch.Tensor, beliefs: torch.Tensor, fingerprint: str = "") -> None:
        super().__init__([])
        self.images, self.beliefs, self.fingerprint = images, beliefs, fingerprint

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> Item:
        return {"image": self.images[index], "belief": self.beliefs[index]}


def taught_images(
    teacher: str | os.PathLike[str] | None,
    datalist: str | os.PathLike[str] | Datalist | Sequence[Mapping[str, Any]],
    *,
    modality: Modality,
    device: torch.device,
    precision: str = "auto",
    seed: int = 0,
    most: int = MOST,
    transform: Callable[[Any], Any] | None = None,
) -> TaughtImages | None:
    """Pool images with what the teacher believes of them: its mean over the mirrorings that the modality allows.

    Images of the training and of the validation section are left out, and others of the latter's patients, whatever
    else the pool's entries hold: no label of theirs is read.

    Args:
        teacher: fine-tuned weights; without any there is nothing to teach, which is None.
        datalist: as of ``entries_from``; its pool is looked at, of a plain list all without a label.
        modality: of images and teacher.
        device: where to compute.
        precision: see :class:`~bundle.numerics.PrecisionInferer`.
        seed: of the draw.
        most: images; of a larger pool a seeded draw is taken.
        transform: an entry to an item whose ``image`` is a canvas, uint8 (C, S, S); where None, from the file.

    Raises:
        ValueError: the teacher is none of this modality, or no image of the pool can teach.
    """
    if teacher is None:
        return None
    if not Path(teacher).is_file():
        raise ValueError(f"teacher: there is no file {teacher}; give the model.pt of an earlier training")
    if isinstance(datalist, (str, os.PathLike)):
        datalist = load_datalist(datalist)
    if isinstance(datalist, Datalist):
        allowed = set(datalist.candidates()).difference(datalist.ids("training"))
        pool = [entry for entry in datalist.section("pool") if entry["id"] in allowed]
    else:
        pool = [entry for entry in entries_from(datalist) if not entry.get("label")]
    drawn = numpy_stream(seed, "taught").permutation(len(pool))[:most]
    entries = [{"id": pool[i]["id"], "image": pool[i]["image"]} for i in sorted(drawn)]
    network = prepare_network(load_fine_tuned(teacher, modality), device).eval()
    inferer = MirroredInferer(PrecisionInferer(device, precision), modality.augmentation.flip)
    images = [torch.empty(0, modality.channels, modality.size, modality.size, dtype=torch.uint8, device=device)]
    beliefs = [torch.empty(0, len(modality.labels), modality.size, modality.size, dtype=torch.uint8, device=device)]
    # Each process looks at a part of the images; where that is all of them, the first one's count.
    own = [] if ranks.repeats(len(entries)) else entries
    loader = ReadAhead(Dataset(own, transform or preprocessing(modality, cached=True)), BATCH)
    hidden = None if ranks.is_first() else True
    with torch.no_grad(), tqdm(total=len(ranks.part(len(own))), desc="teacher", unit="image", disable=hidden) as bar:
        for batch in loader:
            images.append(batch["image"].to(device))
            probabilities = inferer(as_unit_range(images[-1]), network).softmax(dim=1)
            beliefs.append(probabilities[:, 1:].mul(255).round().to(torch.uint8))
            bar.update(len(images[-1]))
    if loader.aside.rows:  # without their paths, which may hold names; make_datalist tells them
        reasons = ", ".join(sorted({row["reason"] for row in loader.aside.rows}))
        logger.warning("%d images of the pool cannot be read and teach nothing: %s", len(loader.aside), reasons)
    (seen, believed), _ = gather(torch.cat(images), torch.cat(beliefs))
    if not len(seen):
        raise ValueError(
            "teacher: the datalist's pool has no image without a label to teach on; list the unlabelled images too, or "
            "leave the teacher out"
        )
    logger.info("%d images of the pool teach along, as %s sees them", len(seen), teacher)
    looked_at = content_fingerprint(entry["id"] for entry in entries)
    return TaughtImages(seen.cpu(), believed.cpu(), f"{file_fingerprint(teacher)} on {looked_at}")


class LabelledAndTaught(Dataset):
    """Labelled images, then taught ones, as items of one kind: a label becomes a belief without doubt.

    Args:
        labelled: items with ``image`` and ``label``, uint8 (1, S, S) class indices.
        taught: the others.
    """

    def __init__(self, labelled: Sequence[Item], taught: TaughtImages) -> None:
        super().__init__([])
        self.labelled, self.taught = labelled, taught
        self.classes = taught.beliefs.shape[1] + 1

    def __len__(self) -> int:
        return len(self.labelled) + len(self.taught)

    def __getitem__(self, index: Any) -> Item:
        if index >= len(self.labelled):
            return self.taught[index - len(self.labelled)]
        item = self.labelled[index]
        certain = one_hot(item["label"][0].long(), self.classes)[..., 1:].permute(2, 0, 1)
        return {"image": item["image"], "belief": certain.to(torch.uint8) * 255}


def training_loader(labelled: Any, taught: TaughtImages | None, *, batch_size: int, seed: int = 0) -> DataLoader:
    """Endless shuffled batches of labelled images, half of each batch taught ones where there are any.

    Args:
        labelled: dataset of items with ``image`` and ``label``; its ``data`` are their entries.
        taught: of :func:`taught_images`.
        batch_size: images a step, over all processes.
        seed: of the order.

    Raises:
        ValueError: a batch that cannot be halved, or pseudo labels beside a teacher.
    """
    if taught is None:
        return endless_loader(labelled, batch_size=batch_size, seed=seed)
    if any("weight" in entry for entry in labelled.data):
        raise ValueError("teacher and pseudo_labels are two ways to learn from a model; give one of them")
    both = LabelledAndTaught(labelled, taught)
    return DataLoader(both, batch_sampler=HalvesSampler((len(labelled), len(taught)), batch_size, seed), num_workers=0)
