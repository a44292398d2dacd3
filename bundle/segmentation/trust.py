"""How far each mask of the inference can be trusted, told beside it."""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.transforms import Transform

from bundle.data.modality import Modality
from bundle.likeliest import likeliest_class
from bundle.segmentation.canvas_part import image_part
from bundle.segmentation.confidence import head_agreement, soft_dice_confidence
from bundle.segmentation.domain import out_of_domain
from bundle.segmentation.quality import image_flags, mask_flags
from bundle.selection.information import mean_entropy
from bundle.weights import load_weights

logger = logging.getLogger(__name__)

COLUMNS = ("confidence", "head_agreement", "entropy", "out_of_domain", "quality")
FAR = 1.0  # the border of the training images, in units of itself


@dataclasses.dataclass(frozen=True)
class Trust:
    """What is known of one mask beside its pixels.

    Attributes:
        confidence: the Dice that the network expects of it, 0 to 1; see ``confidence.soft_dice_confidence``.
        head_agreement: Dice of the side heads with the main head, 0 to 1.
        entropy: mean entropy of the pixels, 0 to 1 of its maximum.
        out_of_domain: distance of the image from the training images, above 1 it is none of theirs; None where the
            weights hold no reference.
        quality: flags of ``bundle.segmentation.quality``; empty where nothing is noticed.
    """

    confidence: float
    head_agreement: float
    entropy: float
    out_of_domain: float | None
    quality: tuple[str, ...]

    def doubts(self, refuse_below: float) -> list[str]:
        """Why a person should look at the mask before it is used; empty where nothing speaks against it.

        A confidence means nothing for an image unlike all that the network has seen, so a far one is refused whatever
        the confidence.
        """
        found = [f"confidence {self.confidence:.3f} is below {refuse_below:g}"] * (self.confidence < refuse_below)
        if self.out_of_domain is not None and self.out_of_domain > FAR:
            found.append(f"out of domain: {self.out_of_domain:.2f} times the distance that training images keep")
        return found

    def row(self) -> dict[str, str]:
        """The columns of ``COLUMNS`` as text; what is not known is empty."""
        far = "" if self.out_of_domain is None else f"{self.out_of_domain:.4f}"
        figures = [f"{value:.4f}" for value in (self.confidence, self.head_agreement, self.entropy)]
        return dict(zip(COLUMNS, (*figures, far, "; ".join(self.quality)), strict=True))


class Judged(Transform):
    """Turns what ``Inspection`` gives for one image into its logits, ``pred``, and a :class:`Trust`, ``trust``.

    It stands before the mask leaves the canvas: there are the probabilities, and what the network saw. Logits alone, as
    of MONAI Label, which runs the plain network, pass untouched.

    Args:
        modality: gives the labels and the number of their parts.
        model: weight file with the reference of the training images.
    """

    def __init__(self, modality: Modality, model: str | os.PathLike[str]) -> None:
        self.modality, self.model = modality, model
        self._reference: dict[str, torch.Tensor] | None = None
        self._lock = threading.Lock()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """``pred`` is a mapping of ``heads`` (3, classes, W, H) and ``descriptor`` (D,), or logits."""
        if not isinstance(data["pred"], Mapping):
            return dict(data)
        reference = self._learnt()
        heads, descriptor = data["pred"]["heads"], data["pred"]["descriptor"]
        vector = descriptor.as_subclass(torch.Tensor)
        image = data["image"]
        opinions = torch.softmax(image_part(image, heads).cpu(), dim=1).numpy()  # (heads, classes, w, h)
        trust = Trust(
            confidence=soft_dice_confidence(opinions[0]),
            head_agreement=head_agreement(opinions),
            entropy=mean_entropy(opinions[:1]),
            out_of_domain=out_of_domain(vector, reference),
            quality=(
                *mask_flags(torch.from_numpy(likeliest_class(opinions[0])), self.modality),
                *image_flags(image_part(image).cpu(), reference),
            ),
        )
        return {**data, "pred": heads[0], "trust": trust}

    def _learnt(self) -> dict[str, torch.Tensor]:
        """The reference of the weights, read once for all threads."""
        with self._lock:
            if self._reference is None:
                self._reference = load_weights(self.model).reference
                if not self._reference:
                    logger.warning(
                        "%s holds no reference of its training images, so nothing is told of the domain; add one with "
                        "`coldstart fit_domain`",
                        self.model,
                    )
            return self._reference
