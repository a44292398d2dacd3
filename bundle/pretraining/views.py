"""Views: the random pictures of one image that contrast calls the same, and which kind of view to train on.

Contrastive annotation picks the augmentation under which the contrastive loss is highest (Jin et al. 2022, eq. 7).
Taken to the letter the winner is whatever destroys the picture, so the hardest policy counts only while images are
still recognised under it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn.functional import conv2d, pad

from bundle.data.augmentation import random_affine, random_intensity, warp
from bundle.data.modality import Augmentation, Modality
from bundle.pretraining.contrast import info_nce

# An image counts as retrieved when its second view is among the nearest 5 % of all second views, one at least, and a
# policy is refused below the middle between chance, which is as much, and the best policy's rate: its views no longer
# show what tells the images apart. Both are relative, since rates depend on the size of the pool and the length of the
# warm-up, and the mild views of the warm-up come off well. (At three quarters of the best rate dermoscopy stayed on
# mild views; on pool images crops were worth a point of Dice more.)
NEAREST = 0.05
RETRIEVAL_SHARE = 0.5

# Views have three quarters of the image's side: the crops zoom in by a third on average, so pixels keep their scale,
# and a step costs little more than half.
VIEW_SHARE = 0.75
SIDE_STEP = 16  # sides must be multiples of the network's stride


@dataclasses.dataclass(frozen=True)
class Policy:
    """A kind of view.

    Attributes:
        name: shown in the report.
        limits: geometry and intensity.
        grey: probability that a colour image loses its colour.
        blur: largest standard deviation of a Gaussian blur, as a fraction of the side; half of the views are blurred.
        noise: largest standard deviation of additive Gaussian noise; images are in [0, 1].
    """

    name: str
    limits: Augmentation
    grey: float = 0.0
    blur: float = 0.0
    noise: float = 0.0

    def view(self, images: torch.Tensor) -> torch.Tensor:
        """A random view of each image: (B, C, W, H) in [0, 1] to (B, C, view_side(W), view_side(H))."""
        return self.view_with_geometry(images)[0]

    def view_with_geometry(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """A view, and the matrix (B, 2, 3) from its grid to the image's, both -1 to 1 as in ``affine_grid``."""
        affine = random_affine(len(images), (images.shape[2], images.shape[3]), self.limits, images.device)
        size = view_side(images.shape[2]), view_side(images.shape[3])
        views = random_intensity(warp(images, affine, size=size), self.limits)
        if self.grey and views.shape[1] == 3:
            chosen = torch.rand(len(views), 1, 1, 1, device=views.device) < self.grey
            views = torch.where(chosen, views.mean(dim=1, keepdim=True), views)
        if self.blur:
            views = _random_blur(views, self.blur)
        if self.noise:
            level = torch.rand(len(views), 1, 1, 1, device=views.device) * self.noise
            views = (views + level * torch.randn_like(views)).clamp_(0, 1)
        return views, affine


def view_side(side: int) -> int:
    """Side of the views of images with this side, in pixels; not below 32, where the bottleneck has 2 pixels."""
    return max(2 * SIDE_STEP, round(VIEW_SHARE * side / SIDE_STEP) * SIDE_STEP)


def candidate_policies(modality: Modality) -> list[Policy]:
    """The finite list of eq. 7, from mild to hard. All keep to the flips and rotations of the modality."""
    own = modality.augmentation
    # Zooming in to 1.8 keeps at least 30 % of the area, to 2.2 at least 20 % (SimCLR crops down to 8 %, but a lesion
    # or a lung cut to that is no longer the same finding).
    crop = dataclasses.replace(own, scale=(1.0, 1.8), shift=0.2)
    tight = dataclasses.replace(own, scale=(1.0, 2.2), shift=0.25)
    return [
        Policy("mild", own),
        Policy("crop", crop),
        Policy("intensity", _stronger(own, 1.8), grey=0.1),
        Policy("crop and intensity", _stronger(crop, 1.8), grey=0.1),
        Policy("crop, intensity and blur", _stronger(crop, 1.8), grey=0.2, blur=0.015, noise=0.03),
        Policy("tight crop, intensity and blur", _stronger(tight, 2.2), grey=0.2, blur=0.02, noise=0.05),
    ]


@dataclasses.dataclass(frozen=True)
class PolicyScore:
    """How hard a policy is.

    Attributes:
        name: of the policy.
        loss: contrastive loss.
        retrieval: share of the held-out images whose second view is among the nearest.
        chance: that share where views tell nothing.
    """

    name: str
    loss: float
    retrieval: float
    chance: float = NEAREST


@torch.no_grad()
def score_policies(
    project: Callable[[torch.Tensor], torch.Tensor],
    images: torch.Tensor,
    policies: Sequence[Policy],
    *,
    draws: int = 2,
    batch_size: int = 64,
) -> list[PolicyScore]:
    """Contrastive loss and retrieval under each policy, the term that eq. 7 maximises.

    Args:
        project: images (B, C, W, H) to projections (B, D) of length 1, by one warmed-up encoder in evaluation mode.
        images: held-out pool images (N, C, W, H) in [0, 1]; every policy sees the same.
        policies: the candidates.
        draws: pairs of views per image; two bring the standard error of a rate over 200 images to about 2 %.
        batch_size: images per forward pass.
    """
    scores = []
    ids = torch.arange(len(images), device=images.device)
    nearest = math.ceil(max(1, NEAREST * len(images)))  # of few images one is more than 5 %
    for policy in policies:
        losses, hits = [], []
        for _ in range(draws):
            first, second = (
                torch.cat([project(policy.view(chunk)) for chunk in images.split(batch_size)]) for _ in range(2)
            )
            loss, _ = info_nce(first, second, ids, ids)
            similarity = first @ second.T
            rank = (similarity > similarity.diagonal()[:, None]).sum(dim=1)
            losses.append(float(loss))
            hits.append(float((rank < nearest).float().mean()))
        scores.append(PolicyScore(policy.name, sum(losses) / draws, sum(hits) / draws, nearest / len(images)))
    return scores


def retrieval_floor(scores: Sequence[PolicyScore]) -> float:
    """The retrieval rate that a policy must reach to be eligible, 0 to 1."""
    best = max(scores, key=lambda score: score.retrieval)
    return min(best.retrieval, best.chance + RETRIEVAL_SHARE * (best.retrieval - best.chance))


def hardest_policy(scores: Sequence[PolicyScore]) -> str:
    """Name of the policy with the highest loss (eq. 7) among those that reach :func:`retrieval_floor`."""
    floor = retrieval_floor(scores)
    return max((score for score in scores if score.retrieval >= floor), key=lambda score: score.loss).name


def policy_report(scores: Sequence[PolicyScore], chosen: str) -> dict[str, Any]:
    """The choice and its grounds, for ``policies.json`` and the report."""
    return {
        "chosen": chosen,
        "retrieval_floor": round(retrieval_floor(scores), 4),
        "policies": [{"name": s.name, "loss": round(s.loss, 4), "retrieval": round(s.retrieval, 4)} for s in scores],
    }


def _stronger(limits: Augmentation, factor: float) -> Augmentation:
    return dataclasses.replace(
        limits,
        brightness=limits.brightness * factor,
        contrast=(limits.contrast[0] ** factor, limits.contrast[1] ** factor),
        gamma=(limits.gamma[0] ** factor, limits.gamma[1] ** factor),
        colour=limits.colour * factor,
    )


def _random_blur(images: torch.Tensor, largest: float) -> torch.Tensor:
    """Blur half of the images by a Gaussian of up to ``largest`` of the side, (B, C, W, H) in and out."""
    count, channels, width, height = images.shape
    side = max(width, height)
    sigma = torch.rand(count, device=images.device) * largest * side + 1e-3
    sigma = torch.where(torch.rand(count, device=images.device) < 0.5, sigma, torch.full_like(sigma, 1e-3))
    radius = max(1, round(2.5 * largest * side))  # beyond 2.5 standard deviations lies 1 % of a Gaussian
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
    flat = images.reshape(1, count * channels, width, height)
    flat = conv2d(pad(flat, (radius, radius, 0, 0), mode="replicate"), kernel[:, None, None, :], groups=len(kernel))
    flat = conv2d(pad(flat, (0, 0, radius, radius), mode="replicate"), kernel[:, None, :, None], groups=len(kernel))
    return flat.reshape(images.shape)
