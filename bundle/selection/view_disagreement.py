"""``tta``: what a model says of an image that was mirrored or lit otherwise."""

from __future__ import annotations

from bundle.selection.criterion import Opinions, criterion
from bundle.selection.information import MEASURES, measure
from bundle.selection.options import require_choice

VIEWS = 8  # the image and seven views; all mirrorings of both axes twice, once lit otherwise


@criterion(
    "tta",
    opinions="views",
    count=VIEWS,
    summary="entropy or divergence over views of the image",
    good_for="one model without dropout; doubt that comes from the image",
    paper="Wang et al. 2019, Neurocomputing, arXiv 1807.07356",
)
def tta(opinions: Opinions, *, measure_by: str = "jensen_shannon") -> float:
    """Disagreement of a model with itself over views that the modality allows, put back into the image's place.

    Args:
        measure_by: ``"jensen_shannon"``, the divergence of the views (0 where all say the same); or ``"shannon"``, the
            entropy of their mean, as published.
    """
    require_choice("measure_by", measure_by, MEASURES)
    return measure(opinions, measure_by)
