"""How a self-supervised pretraining went: loss curves, the choice of the hardest augmentation, signs of collapse."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bundle.report.blocks import Absent, Block, Chart, Facts, Section, chart
from bundle.report.curves import policy_scores, pretraining_curves
from bundle.report.run_folder import RunFolder, finite, mapping, numbers

PRETRAINING_TERMS = {  # column of the history to the title of its panel
    "loss": "Total loss",
    "contrastive": "Contrast of images (nats)",
    "restoration": "Restoration loss",
    "retrieval": "Own image first (share)",
    "local": "Contrast of places (nats)",
    "matched": "Own place first (share)",
}
LOSS_PARTS = ("Contrast of images (nats)", "Contrast of places (nats)", "Restoration loss")


def pretraining(run: RunFolder) -> Section:
    """Loss curves, the choice of the hardest augmentation, signs of collapse."""
    section = Section("pretraining", "Self-supervised pretraining")
    section.add(_curves, run)
    section.add(_policies, run)
    section.add(_collapse, run)
    return section


def _curves(run: RunFolder) -> Chart:
    rows = run.rows("pretrain/history.csv")
    found = {title: numbers(rows, column) for column, title in PRETRAINING_TERMS.items()}
    terms = {title: values for title, values in found.items() if np.isfinite(values).any()}
    parts = [terms[title] for title in LOSS_PARTS if title in terms]
    if len(parts) == 1 and np.allclose(terms.get("Total loss", np.nan), parts[0], equal_nan=True):
        del terms["Total loss"]  # one objective alone: the total says it twice
    if not terms:
        raise Absent("pretrain/history.csv has none of the columns " + ", ".join(PRETRAINING_TERMS))
    return chart(
        pretraining_curves(numbers(rows, "step"), terms),
        f"Curves over {rows[-1]['step']} steps: {', '.join(terms)}.",
        "Means over the steps between two points. Where the views become harder, the loss may rise with them.",
    )


def _policies(run: RunFolder) -> Iterator[Block]:
    found = run.json("pretrain/policies.json")
    rows, chosen, floor = found["policies"], found.get("chosen"), found.get("retrieval_floor")
    yield chart(
        policy_scores(
            [str(row["name"]) for row in rows],
            [float(row["loss"]) for row in rows],
            [float(row["retrieval"]) for row in rows],
            chosen=chosen,
            floor=floor,
        ),
        f"Bars: loss and retrieval rate of {len(rows)} augmentation policies; {chosen} was chosen.",
        "The hardest augmentation (greatest contrastive loss) gives the most invariant features (Jin et al. 2022, "
        "equation 7), as long as its views can still be told apart: below the floor no policy is taken.",
    )


def _collapse(run: RunFolder) -> Facts:
    signs = mapping(mapping(run.json("pretrain/run.json").get("results")).get("collapse"))
    if not signs:
        raise Absent("No check for collapse: pretrain/run.json does not tell one.")
    names = {
        "descriptor_spread": ("spread of the descriptors", "1: in all directions; 0: one vector for all"),
        "effective_rank": ("effective rank", "dimensions that the descriptors really use"),
        "restored_spread": ("spread of restored images", "1: as the originals; 0: one picture for all"),
    }
    items = [(f"{signs[key]:.3g}", *words) for key, words in names.items() if finite(signs.get(key))]
    warnings = signs.get("warnings") or []
    return Facts([("collapse" if warnings else "no collapse", "check", " ".join(map(str, warnings))), *items])
