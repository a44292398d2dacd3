"""Scores of a network on the test images, each at its own size, with all that calibration is computed from."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bundle.benchmark.images import TestImages
from bundle.data.canvas import from_canvas
from bundle.data.modality import Modality
from bundle.numerics import PrecisionInferer, prepare_network
from bundle.run.atomic import atomic_file
from bundle.segmentation.fine_tuned import fine_tuned_network
from bundle.segmentation.metrics import score_image
from bundle.segmentation.postprocessing import LikeliestClassd
from bundle.segmentation.specks import without_specks
from bundle.weights import Weights

BATCH = 32  # images; bounds the memory, the scores do not depend on it
_LIKELIEST = LikeliestClassd("pred")  # the evaluation's own, so that the masks are the same
BINS = 15  # of the confidence, as in Guo et al. (ICML 2017)


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """Scores of N images, by id.

    Attributes:
        ids: of the images, sorted.
        dice: (N,) mean over the foreground labels; a label in neither mask counts 1, in one of them 0.
        jaccard: (N,) likewise.
        hd95: (N,) 95 % Hausdorff distance in mm where the spacing is known, else in pixels; NaN where not computed.
        pixels: (N, BINS) pixels whose likeliest class has a probability in this bin of [0, 1].
        confidence: (N, BINS) sum of these probabilities.
        correct: (N, BINS) number of these pixels whose likeliest class is the true one.
    """

    ids: tuple[str, ...]
    dice: NDArray[np.float32]
    jaccard: NDArray[np.float32]
    hd95: NDArray[np.float32]
    pixels: NDArray[np.int32]
    confidence: NDArray[np.float32]
    correct: NDArray[np.int32]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a compressed ``.npz`` with an array for every attribute, whole or not at all."""
        with atomic_file(path) as temporary:
            np.savez_compressed(temporary, allow_pickle=False, **{**vars(self), "ids": np.array(self.ids)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Scores:
        """Read what :meth:`save` wrote."""
        with np.load(Path(path), allow_pickle=False) as found:
            arrays = {field.name: found[field.name] for field in dataclasses.fields(cls)}
        return cls(**{**arrays, "ids": tuple(arrays["ids"].tolist())})

    def calibration_error(self) -> float:
        """Expected calibration error of all pixels together, 0 to 1 (Guo et al., ICML 2017, equation 3)."""
        gaps = np.abs(self.correct.sum(axis=0) - self.confidence.sum(axis=0, dtype=np.float64))
        return float(gaps.sum() / self.pixels.sum())


@torch.inference_mode()
def score(
    weights: Weights,
    images: TestImages,
    *,
    modality: Modality,
    device: torch.device,
    precision: str = "fp32",
    hd95: bool = False,
) -> Scores:
    """Segment and score every image as the evaluation does, in batches.

    Args:
        weights: fine-tuned weights.
        images: to segment.
        modality: of the images and of the weights.
        device: where to compute.
        precision: ``fp32`` as the evaluation has it, or ``bf16``, by which scores differ in the fourth digit.
        hd95: whether to compute the distance, which takes longer than all the rest.
    """
    network = fine_tuned_network(weights)
    classes = network.out_channels
    prepare_network(network, device).eval()
    inferer = PrecisionInferer(device, precision)
    found = _empty_scores(images.ids)
    for positions in images.batches(BATCH):
        logits = inferer(images.canvases[positions], network)
        logits = torch.stack([without_specks(one, modality) for one in logits])
        native = from_canvas(logits.flatten(0, 1), *images.sizes[positions[0]])
        probability, prediction = likeliest(native.unflatten(0, logits.shape[:2]))
        truth = torch.stack([images.mask(position) for position in positions]).to(device)
        found.dice[positions], found.jaccard[positions] = (s.cpu() for s in overlap(prediction, truth, classes))
        counts = count_confidence(probability, prediction == truth)
        found.pixels[positions], found.confidence[positions], found.correct[positions] = (c.cpu() for c in counts)
        if hd95:
            for position, drawn, true in zip(positions, prediction.cpu(), truth.cpu(), strict=True):
                found.hd95[position] = score_image(drawn, true, classes, images.spacings[position])["hd95"]
    return found


def likeliest(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Probability and index of the likeliest class, (B, W, H) each, of logits (B, classes, W, H)."""
    planes = logits.transpose(0, 1)
    prediction = _LIKELIEST({"pred": planes})["pred"][0]
    best = planes.amax(dim=0)
    return 1 / (planes - best).exp_().sum(dim=0), prediction


def overlap(prediction: torch.Tensor, truth: torch.Tensor, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Dice and Jaccard of each image, (B,), as :func:`bundle.segmentation.metrics.score_image` has them.

    Args:
        prediction: (B, W, H) class indices.
        truth: (B, W, H) class indices.
        classes: number of classes, background included.
    """
    dice, jaccard = [], []
    for label in range(1, classes):
        drawn, true = prediction == label, truth == label
        both = (drawn & true).sum(dim=(1, 2)).double()
        either = drawn.sum(dim=(1, 2)) + true.sum(dim=(1, 2)) - both
        absent = either == 0
        dice.append(torch.where(absent, 1.0, 2 * both / (either + both)))
        jaccard.append(torch.where(absent, 1.0, both / either))
    return torch.stack(dice).mean(dim=0), torch.stack(jaccard).mean(dim=0)


def count_confidence(probability: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pixels, summed probabilities and right pixels in each bin of the probability, (B, BINS) each.

    Args:
        probability: (B, W, H) of the likeliest class, 0 to 1.
        right: (B, W, H) bool, whether the likeliest class is the true one.
    """
    count = len(probability)
    bins = (probability * BINS).long().clamp_(max=BINS - 1)
    slots = (bins + BINS * torch.arange(count, device=bins.device)[:, None, None]).flatten()
    weighed = (None, probability.double().flatten(), right.double().flatten())
    pixels, confidence, correct = (
        torch.bincount(slots, weights=w, minlength=count * BINS).reshape(count, BINS) for w in weighed
    )
    return pixels, confidence, correct


def _empty_scores(ids: tuple[str, ...]) -> Scores:
    n = len(ids)
    dice, jaccard, hd95 = (np.full(n, np.nan, dtype=np.float32) for _ in range(3))
    pixels, correct = (np.zeros((n, BINS), dtype=np.int32) for _ in range(2))
    return Scores(ids, dice, jaccard, hd95, pixels, np.zeros((n, BINS), dtype=np.float32), correct)
