"""What rounds give: every recipe against one selection of the same sum and against random rounds, and in each group."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bundle.benchmark.paired import deviation, paired_difference

ONE_SHOT = "one-shot"  # the whole sum at once, by the strategy of the cold start


def final_scores(rows: Sequence[Mapping[str, Any]], *, labels: int) -> dict[str, dict[int, float]]:
    """Recipe to seed to the Dice of the model that has learned from all ``labels``."""
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        if row["labels"] == labels:
            found.setdefault(row["recipe"], {})[row["seed"]] = row["dice"]
    return found


def compare(final: Mapping[str, Mapping[int, float]]) -> dict[str, Any]:
    """Every recipe against one-shot and against random rounds, seed by seed.

    Returns:
        ``means`` (recipe to ``n``, ``mean`` and ``sd`` over the seeds) and ``comparisons``: ``recipe``, ``against``,
        ``n``, ``mean`` and ``sd`` of the paired difference, ``wins``, ``losses``, the two-sided ``p`` of Wilcoxon's
        signed-rank test and ``p_holm``, corrected for all comparisons with the same. ``sd`` is None with one seed.
    """
    from bundle.benchmark.protocol import CHANCE  # heavy, and the verb's help needs the name above alone
    from bundle.benchmark.statistics import holm, signed_rank_p

    means = {
        name: {"n": len(s), "mean": statistics.fmean(s.values()), "sd": deviation(list(s.values()))}
        for name, s in final.items()
    }
    comparisons: list[dict[str, Any]] = []
    for against in (ONE_SHOT, CHANCE):
        family: list[dict[str, Any]] = []
        for name in final:
            if name in (against, ONE_SHOT) or against not in final or not final[name].keys() & final[against].keys():
                continue
            gain = paired_difference(final[name], final[against])
            family.append(
                {
                    "recipe": name,
                    "against": against,
                    "n": gain.n,
                    "mean": gain.mean,
                    "sd": gain.spread,
                    "wins": gain.wins,
                    "losses": gain.losses,
                    "p": signed_rank_p(gain.differences),
                }
            )
        corrected = holm([row["p"] for row in family])
        comparisons += [{**row, "p_holm": p} for row, p in zip(family, corrected, strict=True)]
    return {"means": means, "comparisons": comparisons}


def table(found: Mapping[str, Any]) -> list[str]:
    """Markdown: the Dice of every recipe, and what it gives over the others in points."""
    lines = ["| recipe | seeds | Dice | sd |", "|---|---|---|---|"]
    for name, m in found["means"].items():
        lines.append(f"| {name} | {m['n']} | {m['mean']:.4f} | {_shown(m['sd'], 4)} |")
    lines += ["", "| recipe | against | points | sd | up | down | p | p (Holm) |", "|---|---|---|---|---|---|---|---|"]
    for row in found["comparisons"]:
        figures = f"{100 * row['mean']:+.2f} | {_shown(row['sd'], 2, 100)} | {row['wins']} | {row['losses']}"
        chances = " | ".join(f"{row[name]:.4f}" for name in ("p", "p_holm"))
        lines.append(f"| {row['recipe']} | {row['against']} | {figures} | {chances} |")
    return lines


def scores_by_group(
    final: Mapping[str, Mapping[int, Mapping[str, float]]], groups: Mapping[str, Mapping[str, Sequence[str]]]
) -> list[dict[str, Any]]:
    """How well every recipe does on each group of the test images.

    Args:
        final: recipe to seed to id to the Dice of the last model.
        groups: kind of group to group to ids.

    Returns:
        A row a group and recipe: ``kind``, ``group``, ``images``, ``recipe``, ``seeds``, and ``dice`` and ``sd``, the
        mean and standard deviation over the seeds of the group's mean.
    """
    rows = []
    for kind, members in groups.items():
        for group, ids in members.items():
            for recipe, seeds in final.items():
                each = [statistics.fmean(dice[name] for name in ids) for dice in seeds.values()]
                about = {"kind": kind, "group": group, "images": len(ids), "recipe": recipe, "seeds": len(each)}
                rows.append({**about, "dice": statistics.fmean(each), "sd": deviation(each)})
    return rows


def groups_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Markdown: groups down, recipes across."""
    recipes = list(dict.fromkeys(row["recipe"] for row in rows))
    lines = [f"| group | images | {' | '.join(recipes)} |", "|---" * (len(recipes) + 2) + "|"]
    cells: dict[tuple[str, str, int], dict[str, str]] = {}
    for row in rows:
        shown = f"{row['dice']:.4f} ± {_shown(row['sd'], 4)}"
        cells.setdefault((row["kind"], row["group"], row["images"]), {})[row["recipe"]] = shown
    for (kind, group, images), found in cells.items():
        lines.append(f"| {kind}: {group} | {images} | {' | '.join(found[name] for name in recipes)} |")
    return lines


def _shown(deviation: float | None, digits: int, times: float = 1) -> str:
    return "–" if deviation is None else f"{times * deviation:.{digits}f}"
