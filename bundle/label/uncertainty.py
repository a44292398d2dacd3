"""How unsure the model is of each image: scores for active learning once a model is trained."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from numpy.typing import NDArray
from torch import nn

from bundle.data.canvas import canvas_box
from bundle.label.descriptions import PoolImage, batches_of_canvases
from bundle.label.models import PackagedModel
from bundle.network import UNet
from bundle.numerics import PrecisionInferer, prepare_network
from bundle.run.atomic import write_json
from bundle.run.quarantine import Quarantine
from bundle.run.record import content_fingerprint
from bundle.weights import check_settings, load_weights

logger = logging.getLogger(__name__)

# Opinions (P, classes, W, H), probabilities without padding, to a number from 0 to 1; the most uncertain is 1.
Criterion = Callable[[NDArray[np.float32]], float]


def entropy(opinions: NDArray[np.float32]) -> float:
    """Mean over an image's pixels of the entropy of the predicted classes, as a share of the largest there can be.

    Settles, *Active learning literature survey*, 2009, section 3.1.
    """
    p = opinions.mean(axis=0)
    return float(-(p * np.log(np.maximum(p, np.finfo(np.float32).tiny))).sum(axis=0).mean() / np.log(len(p)))


CRITERIA: dict[str, Criterion] = {"entropy": entropy}


def score(opinions: NDArray[np.float32], criterion: Criterion) -> float:
    """How uncertain the model is of one image, 0 to 2; highest is most uncertain.

    The criterion's number, and 1 more where nothing but background was found: a structure that was missed altogether
    leaves no border to be unsure of.
    """
    return criterion(opinions) + (not opinions.mean(axis=0).argmax(axis=0).any())


class Uncertainty:
    """Scores of a datastore's images under the current model, kept in a file and made anew for another model.

    Args:
        path: the file.
        criterion: name out of ``CRITERIA``.
    """

    def __init__(self, path: str | os.PathLike[str], criterion: str = "entropy") -> None:
        if criterion not in CRITERIA:
            raise ValueError(f"criterion must be one of {', '.join(CRITERIA)}, got {criterion!r}")
        self._path, self._criterion = Path(path), criterion

    def scores(self) -> dict[str, float]:
        """Id to score, as last computed; empty before."""
        return {image: found for image, found in self._content()["scores"].items() if found is not None}

    def is_current(self, ids: Collection[str], model: PackagedModel) -> bool:
        """Whether all ``ids`` have been looked at with the ``model`` as it is now."""
        content = self._content()
        return content["made_by"] == self._made_by(model) and set(ids) <= content["scores"].keys()

    def update(self, images: Sequence[PoolImage], model: PackagedModel, device: torch.device) -> Mapping[str, float]:
        """Score all ``images`` that have none under ``model``; what cannot be read has none."""
        made_by = self._made_by(model)
        content = self._content()
        known = dict(content["scores"]) if content["made_by"] == made_by else {}
        todo = [image for image in images if image.id not in known]
        if todo:
            network = _evaluation_network(model, device)
            inferer, criterion = PrecisionInferer(device, "fp32"), CRITERIA[self._criterion]
            for part, canvases in batches_of_canvases(todo, model.modality, Quarantine(), title="score"):
                with torch.inference_mode():
                    logits = inferer(torch.stack([canvas.as_tensor() for canvas in canvases]), network)
                for image, canvas, row in zip(part, canvases, logits.softmax(dim=1).cpu().numpy(), strict=True):
                    known[image.id] = score(_without_padding(row, canvas)[None], criterion)
            known = {image.id: None for image in todo} | known  # tried, and cannot be read
            write_json(self._path, {"made_by": made_by, "scores": known})
            logger.info("scored %d images by %s", len(todo), self._criterion)
        return self.scores()

    def _made_by(self, model: PackagedModel) -> str:
        return content_fingerprint((model.fingerprint, self._criterion))

    def _content(self) -> dict:
        if not self._path.is_file():
            return {"made_by": None, "scores": {}}
        return dict(json.loads(self._path.read_text(encoding="utf-8")))


def _without_padding(plane: NDArray[np.float32], canvas: MetaTensor) -> NDArray[np.float32]:
    """The part of ``plane``, (classes, size, size), where the image lies on its canvas."""
    width, height = (int(side) for side in canvas.meta["spatial_shape"])
    left, top, w, h = canvas_box(width, height, plane.shape[-1])
    return plane[:, left : left + w, top : top + h]


def _evaluation_network(model: PackagedModel, device: torch.device) -> nn.Module:
    """The fine-tuned network, in evaluation mode on ``device``."""
    weights, modality = load_weights(model.model), model.modality
    check_settings(model.model, weights.settings, {"modality": modality.name, "size": modality.size})
    network = UNet(modality.channels, modality.classes, tuple(weights.settings["filters"]))
    network.load_state_dict(weights.model)
    return prepare_network(network, device).eval()
