"""``ensemble``: where models that were trained apart disagree."""

from __future__ import annotations

from bundle.selection.criterion import Opinions, criterion
from bundle.selection.information import MEASURES, measure
from bundle.selection.options import require_choice


@criterion(
    "ensemble",
    opinions="ensemble",
    summary="entropy or divergence of several models",
    good_for="doubt about the training itself, at the cost of several",
    paper="Beluch et al. 2018, CVPR; compared with by Zhao, Zeng et al. 2021",
)
def ensemble(opinions: Opinions, *, measure_by: str = "jensen_shannon") -> float:
    """Disagreement of models that differ by the seed of their training.

    Args:
        measure_by: ``"jensen_shannon"``, the divergence of the models (0 where all say the same); or ``"shannon"``, the
            entropy of their mean.
    """
    require_choice("measure_by", measure_by, MEASURES)
    return measure(opinions, measure_by)
