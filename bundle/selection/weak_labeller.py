"""The weak labeller of DSAL (Zhao, Zeng et al. 2021): images so sure that the model's own masks may teach."""

from __future__ import annotations

from collections.abc import Collection

from bundle.selection.options import require_number, require_whole
from bundle.selection.uncertainty import Uncertainties

BINS = 10  # of the histogram of confidences, as published; the last one is taken
LEAST_AGREEMENT = 0.9  # Dice of the heads; below, a pseudo label is no better than what few labels give anyway


def quota(round_number: int, *, first: int, per_round: int) -> int:
    """Pseudo labels of a round: none before round ``first``, then ``per_round``, and as many more every round."""
    return per_round * max(0, round_number - first + 1)


def weak_labels(
    uncertainties: Uncertainties,
    count: int,
    *,
    exclude: Collection[str] = (),
    least_agreement: float = LEAST_AGREEMENT,
) -> list[str]:
    """At most ``count`` ids whose predictions become pseudo labels, the surest first.

    Confidences of the images left are put into 10 bins of equal width from the least to the greatest; those of the last
    bin pass, then those whose heads agree most come first. They are chosen anew every round.

    Where this departs from the authors' code, and why: an empty prediction never passes, since all heads agree where
    all of them missed the lesion, and of several labels nor does one in which no head sees one of them, since nothing
    tells a structure that is not there from one that was missed; images of the oracle are left out, which there could
    be in both sets; and agreement below ``least_agreement`` does not pass, so that there may be fewer than ``count``.

    Args:
        uncertainties: by the criterion ``dsal``, so that 1 - score is the agreement of the heads.
        count: at most.
        exclude: ids that the oracle has or is asked for, and those never to be used.
        least_agreement: mean Dice of the main head with the side heads, 0 to 1.
    """
    require_whole("count", count, least=0)
    require_number("least_agreement", least_agreement, most=1)
    left = {name: row for name, row in uncertainties.without(exclude).items() if not (row.empty or row.unseen)}
    if not left:
        return []
    confidences = [row.confidence for row in left.values()]
    least, greatest = min(confidences), max(confidences)
    edge = greatest - (greatest - least) / BINS
    sure = [name for name, row in left.items() if row.confidence >= edge and 1 - row.score >= least_agreement]
    return sorted(sure, key=lambda name: (left[name].score, -left[name].confidence, name))[:count]
