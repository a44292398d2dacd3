"""How unsure the model is of each image of the datastore: what active learning goes by once a model is trained."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch

from bundle.data.transforms import preprocessing
from bundle.label.descriptions import PoolImage, read_batches
from bundle.label.models import PackagedModel
from bundle.numerics import PrecisionInferer
from bundle.run.atomic import write_json
from bundle.run.quarantine import Quarantine
from bundle.run.record import content_fingerprint
from bundle.segmentation.opinions import ImageSeed, opinion_network
from bundle.segmentation.score_table import without_padding
from bundle.selection import score

logger = logging.getLogger(__name__)


class Uncertainty:
    """Scores of a datastore's images under the current model, kept in a file and made anew for another model.

    Args:
        path: the file.
        criterion: of ``bundle.selection.available_criteria()``.
        seed: of the criterion's chance, where it has any.
    """

    def __init__(self, path: str | os.PathLike[str], criterion: str = "entropy", *, seed: int = 0) -> None:
        self._path, self._criterion, self._seed = Path(path), criterion, seed

    def scores(self) -> dict[str, float]:
        """Id to score, 0 to 2, as last computed; the most uncertain has the highest. Empty before."""
        return {image: found for image, found in self._content()["scores"].items() if found is not None}

    def is_current(self, ids: Collection[str], model: PackagedModel) -> bool:
        """Whether all ``ids`` have been looked at with the ``model`` as it is now."""
        content = self._content()
        return content["made_by"] == self._made_by(model) and set(ids) <= content["scores"].keys()

    def update(self, images: Sequence[PoolImage], model: PackagedModel, device: torch.device) -> dict[str, float]:
        """Score all ``images`` that have no score under ``model``; what cannot be read has none."""
        made_by, content = self._made_by(model), self._content()
        known = dict(content["scores"]) if content["made_by"] == made_by else {}
        todo = [image for image in images if image.id not in known]
        if todo:
            network = opinion_network(model.model, model.modality, device, criterion=self._criterion)
            inferer, seeded = PrecisionInferer(device, "fp32"), ImageSeed(self._seed)
            known |= {image.id: None for image in todo}  # what cannot be read is not tried with every request
            for batch in read_batches(
                todo, preprocessing(model.modality), Quarantine(), batch_size=1, title=self._criterion
            ):
                with torch.inference_mode():
                    opinions = inferer(seeded(batch, device)[0], network)[0].cpu()
                (item,) = batch["items"]
                known[item["id"]] = score(without_padding({**item, "pred": opinions})["pred"].numpy(), self._criterion)
            write_json(self._path, {"made_by": made_by, "scores": known})
            logger.info("scored %d images by %s", len(todo), self._criterion)
        return self.scores()

    def _made_by(self, model: PackagedModel) -> str:
        return content_fingerprint((model.fingerprint, self._criterion, self._seed))

    def _content(self) -> dict[str, Any]:
        if not self._path.is_file():
            return {"made_by": None, "scores": {}}
        return dict(json.loads(self._path.read_text(encoding="utf-8")))
