"""MONAI Label's inference task: the packaged bundle's own, with results that a viewer can lay over the image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monailabel.tasks.infer.bundle import BundleInferTask
from monailabel.transform.writer import Writer

from bundle.data import nifti, nrrd
from bundle.data.masks import LOSSY_SUFFIXES
from bundle.data.pictures import SUFFIXES as PICTURES
from bundle.data.pictures import UnreadableImage
from bundle.label.models import PackagedModel
from bundle.label.uploads import Refused
from bundle.numerics import prepare_network
from bundle.segmentation.prediction import result_suffix

# What ITK, which writes the results, knows of these formats; a lossy one would come back as a label with blurred edges.
RESULTS: dict[str, tuple[str, ...]] = {
    **{suffix: ("uint8",) for suffix in PICTURES if suffix not in LOSSY_SUFFIXES},
    **dict.fromkeys((*nifti.SUFFIXES, *nrrd.SUFFIXES), ("uint8", "int16", "uint16", "float32")),
    ".png": ("uint8", "uint16"),
}


class PredrawTask(BundleInferTask):
    """Pre-draws an image with ``model.pt``.

    A picture's result is a PNG of class indices, a radiograph's a NIfTI on the image's own grid; a client that asks for
    another format (``result_extension``, 3D Slicer takes ``.nrrd``) gets it with the same grid.
    """

    def __init__(self, model: PackagedModel, conf: dict[str, str]) -> None:
        self._model = model
        super().__init__(str(model.root), conf)
        # Every weight file of the folder is offered otherwise, and a client sends the first of the list back.
        self._config["model_filename"] = [model.model.name]

    def __call__(self, request: dict[str, Any], callbacks: Any = None) -> Any:
        """Segment ``request["image"]``.

        Raises:
            Refused: the model is not trained yet, another weight file or a result that cannot be is asked for, or the
                image cannot be read.
        """
        asked = request.get("model_filename")
        if asked and asked not in (self._model.model.name, [self._model.model.name]):
            raise Refused(400, f"model_filename must be {self._model.model.name}, got {asked!r}")
        check_result(request, result_suffix(self._model.modality))
        if not self._model.is_trained:
            raise Refused(409, f"{self._model.root.name} has no trained model yet: label some images, then train")
        try:
            return super().__call__(request, callbacks)
        except (UnreadableImage, RuntimeError) as error:
            cause = error if isinstance(error, UnreadableImage) else error.__cause__
            if isinstance(cause, UnreadableImage):
                raise Refused(422, f"the image cannot be segmented: {cause.reason}") from None
            raise

    def _load_bundle_config(self, path: str, config: str) -> Any:
        """The bundle's config; a modality of one's own is read from its package, whichever `bundle` is in memory."""
        loaded = super()._load_bundle_config(path, config)
        loaded["modality"] = self._model.modality_setting
        return loaded

    def writer(self, data: dict[str, Any], extension: str | None = None, dtype: Any = None) -> tuple[Any, Any]:
        """Write the mask: x first, (W, H) for a picture, (W, H, 1) with the image's affine for a radiograph."""
        suffix = extension or data.get("result_extension") or result_suffix(self._model.modality)
        data["result_extension"] = suffix
        data["result_dtype"] = dtype or data.get("result_dtype") or np.uint8
        image = data[self.input_key]
        if self._model.modality.reader == "radiograph" and suffix not in PICTURES and isinstance(image, MetaTensor):
            mask = MetaTensor(np.asarray(data[self.output_label_key])[..., None], affine=image.meta["original_affine"])
            data[self.output_label_key] = mask
        return Writer(label=self.output_label_key, json=self.output_json_key)(data)

    def _get_network(self, device: str, data: Any) -> Any:
        """The network laid out in memory as in every stage: another layout sums in another order."""
        return prepare_network(super()._get_network(device, data), torch.device(device))


def check_result(request: Mapping[str, Any], default: str) -> None:
    """Refuse a result in a format or of a type of numbers that cannot be written without loss.

    Args:
        request: may name ``result_extension`` and ``result_dtype``.
        default: suffix where it names none.
    """
    suffix = request.get("result_extension") or default
    if not isinstance(suffix, str) or suffix not in RESULTS:
        raise Refused(400, f"result_extension must be one of {', '.join(RESULTS)}, got {suffix!r}")
    dtype, allowed = request.get("result_dtype"), RESULTS[suffix]
    if dtype and not (isinstance(dtype, str) and dtype in allowed):
        raise Refused(400, f"result_dtype of a {suffix} file must be one of {', '.join(allowed)}, got {dtype!r}")
