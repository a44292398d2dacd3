"""Which images belong together, of one patient: what ties them, and one group of all ties."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

Tie = tuple[str, str]  # its kind, and the group that it alone would give
KINDS = ("rule", "patient", "study", "file")  # the strongest first


def join_ties(ties: Sequence[Sequence[Tie]]) -> list[str | None]:
    """The group of each image by what ties it to others; None where nothing does.

    An image has the group of its strongest tie. Where that tie also holds images that have a stronger one, and these
    are of one group, it joins them: an image without PatientID the patient of its study, an image that a rule does not
    fit what the rule makes of its patient's others. Of several groups nothing tells which one, so it keeps its own.

    Args:
        ties: of each image, at most one of each of ``KINDS``, in their order.
    """
    groups = [held[0][1] if held else None for held in ties]
    stronger: defaultdict[Tie, set[str]] = defaultdict(set)  # a tie to the groups of images that have a stronger one
    for kind in KINDS:
        for i, held in enumerate(ties):
            if not held or held[0][0] != kind:
                continue
            found = stronger[held[0]]
            group = next(iter(found)) if len(found) == 1 else held[0][1]
            groups[i] = group
            for tie in held[1:]:
                stronger[tie].add(group)
    return groups
