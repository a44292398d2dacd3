"""How far an image lies from those that the network was made for.

The distance is Mahalanobis' in the space of the encoder's descriptors (Lee et al., NeurIPS 2018, arXiv:1807.03888,
section 2.1, with one class), which González et al. (Medical Image Analysis 82:102596, 2022) found to tell silent
failures of segmentation networks. The covariance is shrunk (Ledoit and Wolf, Journal of Multivariate Analysis 88:365,
2004), so that forty images are enough. What is kept are a mean and a matrix: no image of a patient can be read from
them, as it might from stored descriptors.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bundle.data.datalist import entries_from
from bundle.data.modality import Modality
from bundle.data.pictures import UnreadableImage
from bundle.data.transforms import preprocessing
from bundle.network import UNet
from bundle.numerics import keep_full_precision
from bundle.run.seeds import numpy_stream
from bundle.segmentation.canvas_part import image_part
from bundle.segmentation.quality import brightness, sharpness, usual_range

logger = logging.getLogger(__name__)

IMAGES = 300  # the last percent is then three images, and reading them takes seconds
FEWEST = 10  # images below which no distance can be called unusual
BORDER = 0.99  # of images held back lie within; so one usual image in a hundred is called far
FOLDS = 5  # an image's distance to a mean that it is part of is too small, so the border is taken on held-out ones
BATCH = 32  # images of a pass, or those of a step where these are fewer; bounds the memory


class TrainingDomain:
    """Takes the reference that inference compares its images with; give it to ``SaveWeights``.

    Args:
        images: entries with absolute ``image``, and ``id``, which those of MONAI Label lack; of more than ``IMAGES`` a
            seeded draw is taken.
        modality: of the images.
        seed: of the draw.
        batch_size: images of a forward pass, 32 at most.
    """

    def __init__(
        self, images: Sequence[Mapping[str, Any]], *, modality: Modality, seed: int = 0, batch_size: int = BATCH
    ) -> None:
        ordered = sorted(images, key=lambda entry: str(entry.get("id", entry["image"])))
        drawn = numpy_stream(seed, "training domain").permutation(len(ordered))[:IMAGES]
        self.entries = [ordered[i] for i in sorted(drawn)]
        self.modality, self.batch_size = modality, min(batch_size, BATCH)
        self._canvases: torch.Tensor | None = None
        self._ranges: dict[str, torch.Tensor] = {}

    def __call__(self, network: UNet) -> dict[str, torch.Tensor]:
        """The reference of ``network`` as it is now: float32 tensors, or nothing where there are too few images.

        ``mean`` (D,) and ``factor`` (D, D): the distance of a descriptor is the length of ``(descriptor - mean) @
        factor``; ``border`` (): the distance that ``BORDER`` of the images keep; ``sharpness`` and ``brightness`` (2,):
        their usual ranges; ``images`` (): how many there were.
        """
        if self._canvases is None and len(self.entries) >= FEWEST:
            self._read()
        if self._canvases is None:
            logger.info("%d images are too few to tell by what is far from them; %d do", len(self.entries), FEWEST)
            return {}
        descriptors = describe(network, self._canvases, batch_size=self.batch_size)
        return fit(descriptors) | self._ranges

    def _read(self) -> None:
        load = preprocessing(self.modality)
        canvases, figures = [], []
        for entry in self.entries:
            try:
                image = load({"image": entry["image"]})["image"]
            except (UnreadableImage, RuntimeError):
                name = entry.get("id", "without an id")
                logger.warning("image %r cannot be read any more and is left out of the reference", name)
                continue
            own = image_part(image)
            figures.append((sharpness(own), brightness(own)))
            canvases.append(image.as_tensor().clamp(0, 1).mul(255).round().to(torch.uint8))
        if len(canvases) < FEWEST:
            self.entries = self.entries[: len(canvases)]
            return
        self._canvases = torch.stack(canvases)
        sharp, bright = torch.tensor(figures, dtype=torch.float64).T
        self._ranges = {"sharpness": usual_range(sharp), "brightness": usual_range(bright)}


def training_domain(
    datalist: str | os.PathLike[str] | Sequence[Mapping[str, Any]],
    training: Sequence[Mapping[str, Any]],
    *,
    modality: Modality,
    seed: int = 0,
    batch_size: int = BATCH,
) -> TrainingDomain:
    """The domain of a training: the pool that its images were chosen from, else these images.

    The pool shows what the hospital has, and is there when five images are labelled.

    Args:
        datalist: as of ``entries_from``; a path that is not there, as in MONAI Label, means that there is no pool.
        training: entries of the training section.
        modality: of the images.
        seed: of the draw among them.
        batch_size: images of a forward pass, 32 at most.
    """
    listed = not isinstance(datalist, (str, os.PathLike)) or Path(datalist).is_file()
    pool = entries_from(datalist, "pool") if listed else []
    return TrainingDomain(pool or training, modality=modality, seed=seed, batch_size=batch_size)


def describe(network: UNet, canvases: torch.Tensor, *, batch_size: int = BATCH) -> torch.Tensor:
    """Descriptors (N, D) in float64 of uint8 canvases (N, C, W, H), by the network in evaluation mode."""
    device, was_training = next(network.parameters()).device, network.training
    keep_full_precision(device, "fp32")
    network.eval()
    found = []
    try:
        with torch.no_grad():
            for part in canvases.split(batch_size):
                image = part.to(device).float().div(255).contiguous(memory_format=torch.channels_last)
                found.append(network.describe_scales(image).double().cpu())
    finally:
        network.train(was_training)
    return torch.cat(found)


def fit(descriptors: torch.Tensor) -> dict[str, torch.Tensor]:
    """``mean``, ``factor``, ``border`` and ``images`` of descriptors (N, D), see :class:`TrainingDomain`."""
    vectors = descriptors.double().numpy()
    folds = np.arange(len(vectors)) % FOLDS
    held_out = [_distances(vectors[folds == f], *_gaussian(vectors[folds != f])) for f in range(FOLDS)]
    mean, factor = _gaussian(vectors)
    border = float(np.quantile(np.concatenate(held_out), BORDER))
    plain = {"mean": mean, "factor": factor, "border": border, "images": len(vectors)}
    return {name: torch.tensor(value, dtype=torch.float32) for name, value in plain.items()}


def out_of_domain(descriptor: torch.Tensor, reference: Mapping[str, torch.Tensor]) -> float | None:
    """Distance of a descriptor (D,) in units of the border: above 1 lies what is not of the domain.

    None where the reference is empty.

    Raises:
        ValueError: a reference of descriptors of another length.
    """
    if not {"mean", "factor", "border"} <= set(reference):
        return None
    if reference["mean"].shape != descriptor.shape:
        raise ValueError(
            f"the reference in the weights is of {reference['mean'].numel()} features, the network gives "
            f"{descriptor.numel()}; fit it again with `coldstart fit_domain`"
        )
    distance = torch.linalg.vector_norm((descriptor.cpu().float() - reference["mean"]) @ reference["factor"])
    return float(distance / reference["border"])


def _gaussian(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and factor (D, D) of the inverse covariance, with every feature at unit variance while it shrinks."""
    from sklearn.covariance import ledoit_wolf

    mean, spread = vectors.mean(axis=0), vectors.std(axis=0)
    # A feature that is constant here tells nothing of these images, and must not blow up others' distances.
    scale = np.where(spread > 1e-6, spread, np.inf)
    covariance, _ = ledoit_wolf((vectors - mean) / scale, assume_centered=True)
    values, axes = np.linalg.eigh(covariance)
    return mean, (axes / np.sqrt(np.maximum(values, 1e-12))) / scale[:, None]


def _distances(vectors: np.ndarray, mean: np.ndarray, factor: np.ndarray) -> np.ndarray:
    return np.linalg.norm((vectors - mean) @ factor, axis=1)
