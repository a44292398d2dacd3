"""The tables of a benchmark: what was gained, what was lost, and at what price."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from bundle.benchmark.arms import ALL_LABELS, Arm, Setup, arm_title
from bundle.benchmark.comparison import AreaDifference, compare_areas
from bundle.benchmark.ledger import Ledger
from bundle.benchmark.paired import paired_difference
from bundle.benchmark.protocol import CHANCE
from bundle.benchmark.statistics import Crossing, Interval, labels_to_reach, percentile_within
from bundle.report.blocks import Absent, Table, duration

ABLATED = "ca"
OPTIMISM = "Bootstrap intervals of few seeds are too narrow: with ten they hold the true mean 90 % of the time."


def curve_table(setup: Setup, budgets: Sequence[int]) -> Table:
    """Mean Dice of every arm at every number of labels, with the spread over seeds, and the area."""
    counts = sorted({labels for arm in setup.compared.values() for labels in arm.figures()})
    rows = []
    for title, arm in setup.arms.items():
        figures, areas = arm.figures(), list(arm.areas(budgets).values())
        if arm.strategy == ALL_LABELS:
            labels = max(figures)
            rows.append([f"{title} ({labels})", _spread(figures[labels].values()), *[""] * len(counts)])
        else:
            rows.append([title, _spread(areas), *(_spread(figures.get(labels, {}).values()) for labels in counts)])
    return Table(
        ["start/strategy", "AUBC", *map(str, counts)],
        rows,
        f"Mean per-image foreground Dice on the test images ± standard deviation over seeds (number of seeds). AUBC is "
        f"the area under it over log2 of the labels, {_listed(budgets)}, divided by the width. With all labels the one "
        f"figure stands in its place.",
        title="Dice by number of labels",
    )


def family_table(compared: Sequence[AreaDifference], missing: Sequence[str]) -> Table:
    """The tested differences of the area, corrected together."""
    rows = [
        [
            f"{found.a} vs {found.b}",
            f"{found.mean_a:.4f}",
            f"{found.mean_b:.4f}",
            _points(found.interval),
            f"{found.paired.wins} / {found.paired.ties} / {found.paired.losses}",
            f"{found.error_cut:+.0%}",
            _p(found.p),
            "–" if found.corrected is None else _p(found.corrected),
        ]
        for found in compared
    ]
    if not rows:
        raise Absent(f"No comparison of the family has a seed with all budgets in both: {'; '.join(missing)}.")
    least = min(2.0 ** (1 - found.paired.n) for found in compared)
    return Table(
        ["A vs B", "A", "B", "A - B, points", "won / tied / lost", "error cut", "p", "p, Holm"],
        rows,
        f"Differences of the AUBC, paired by seed: mean with its 95 % bootstrap interval (the unit is the seed), seeds "
        f"that A won, tied and lost, share of B's error (1 - AUBC) that A saves, two-sided Wilcoxon signed-rank test, "
        f"and Holm's correction over this family. With these seeds no p can be below {_p(least)}. {OPTIMISM}"
        + (f" Not there yet: {'; '.join(missing)}." if missing else ""),
        title="The family of tests",
    )


def square_table(setup: Setup, budgets: Sequence[int], selected: str) -> Table:
    """The 2 x 2 of warm start and selection: which gain is whose."""
    cells = {
        (start, strategy): list(arm.areas(budgets).values())
        for start in ("none", "all")
        for strategy in (CHANCE, selected)
        if (arm := setup.arm(f"{start}/{strategy}")) is not None
    }
    if len(cells) < 4 or not all(cells.values()):
        raise Absent(f"The 2 x 2 needs all of none and all with {CHANCE} and {selected} at every budget.")
    gains = {
        (a, b): compare_areas(setup, "/".join(a), "/".join(b), budgets)
        for a, b in (
            (("none", selected), ("none", CHANCE)),
            (("all", selected), ("all", CHANCE)),
            (("all", CHANCE), ("none", CHANCE)),
            (("all", selected), ("none", selected)),
        )
    }

    def gain(a: tuple[str, str], b: tuple[str, str]) -> str:
        found = gains[a, b]
        return "–" if found is None else _points(found.interval)

    rows = [
        [
            name,
            _spread(cells[start, CHANCE]),
            _spread(cells[start, selected]),
            gain((start, selected), (start, CHANCE)),
        ]
        for name, start in (("random weights", "none"), ("warm start", "all"))
    ]
    warm = [gain(("all", strategy), ("none", strategy)) for strategy in (CHANCE, selected)]
    return Table(
        ["AUBC", "random labels", f"labels by {selected}", "selection gives"],
        [*rows, ["warm start gives", *warm, ""]],
        "Gains in points with their 95 % paired bootstrap intervals.",
        title="Warm start and selection apart",
    )


def chance_table(setup: Setup, budgets: Sequence[int]) -> Table:
    """Every strategy against random draws of its own start and pool: area, and seeds won at every budget."""
    rows = []
    for title, (arm, chance) in setup.against_chance.items():
        found = compare_areas(setup, title, chance.title, budgets)
        rows.append(
            [
                title,
                "–" if found is None else _points(found.interval),
                "–" if found is None else f"{found.error_cut:+.0%}",
                *(_budget_difference(arm, chance, labels) for labels in budgets),
            ]
        )
    if not rows:
        raise Absent("No strategy has random draws of its own start beside it.")
    return Table(
        ["start/strategy", "AUBC, points", "error cut", *map(str, budgets)],
        rows,
        "Differences to random draws of the same start and pool, paired by seed: of the AUBC in points with the 95 % "
        "bootstrap interval, and at each number of labels in points with seeds won / tied / lost. Not corrected: this "
        "table orders, the family tests. Arms marked [shuffle] are the negative control, whose vectors were dealt out "
        "anew among the images: they have to be at chance.",
        title="Every strategy against random draws",
    )


def percentile_table(setup: Setup, budgets: Sequence[int]) -> Table:
    """Where the runs of each strategy lie among the single random draws of its start and pool."""
    rows = []
    for title, (arm, chance) in setup.against_chance.items():
        runs, draws = arm.figures(), chance.figures()
        rows.append(
            [
                title,
                *(
                    f"{percentile_within(list(runs[labels].values()), list(draws[labels].values())):.0f}"
                    if labels in runs and labels in draws
                    else "–"
                    for labels in budgets
                ),
            ]
        )
    if not rows:
        raise Absent("No strategy has random draws of its own start beside it.")
    return Table(
        ["start/strategy", *map(str, budgets)],
        rows,
        "Percentile of a strategy's runs among the Dice of single random draws, the mean over its seeds: 50 is chance, "
        "100 beats every draw.",
        title="Percentile within the random draws",
    )


def labels_table(setup: Setup, budgets: Sequence[int], share: float) -> Table:
    """Labels that every arm needs for a share of what all labels give."""
    rows = []
    for pool in sorted({arm.pool for arm in setup.compared.values()}):
        full = [arm for start in ("none", "encoder", "all") if (arm := setup.full(start, pool)) is not None]
        if not full:
            continue
        best = max(max(arm.means().values()) for arm in full)
        needed = {
            title: labels_to_reach(share * best, {b: d for b, d in arm.means().items() if b in budgets})
            for title, arm in setup.compared.items()
            if arm.pool == pool and any(labels in budgets for labels in arm.means())
        }
        base = needed.get(arm_title("none", CHANCE, pool))
        for title, found in needed.items():
            rows.append([title, f"{share * best:.4f}", str(found), _ratio(found, base)])
    if not rows:
        raise Absent("Labels needed are not told: no run with all labels is there (--budgets all).")
    return Table(
        ["start/strategy", "target Dice", "labels", f"of none/{CHANCE}"],
        rows,
        f"Labels at which the mean curve first reaches {share:.0%} of the best mean Dice with all labels, interpolated "
        f"on log2 between budgets; and how many that is of what random weights with random labels need.",
        title="Labels needed",
    )


def ablation_table(setup: Setup, budgets: Sequence[int]) -> Table:
    """Every variant of ``ca`` against ``ca`` itself, at the budgets that both have."""
    rows = []
    for title, arm in setup.compared.items():
        if arm.strategy.partition(":")[0] != ABLATED:
            continue
        whole = setup.arms.get(arm_title(arm.start, ABLATED, arm.pool))
        if whole is None or whole is arm:
            continue
        shared = sorted(arm.figures().keys() & whole.figures().keys())
        area = compare_areas(setup, title, whole.title, budgets)
        each = [f"{labels}: {_budget_difference(arm, whole, labels)}" for labels in shared]
        rows.append([title, "–" if area is None else _points(area.interval), "; ".join(each)])
    if not rows:
        raise Absent(f"No variant of {ABLATED} stands beside {ABLATED} itself (--strategies ca ca:k=20 and so on).")
    return Table(
        ["variant", f"AUBC to {ABLATED}, points", "labels: points, won / tied / lost"],
        rows,
        f"Variant minus {ABLATED}, paired by seed. The paper's own gaps (Jin et al. 2022, ISIC and chest X-ray): "
        f"random inside clusters -0.8 and -1.5, K = 1 -0.8 and -1.3, K = 20 -0.3 and -0.6, K = 200 -1.2 and -2.0.",
        title="Ablation of contrastive annotation",
    )


def secondary_table(setup: Setup, budgets: Sequence[int]) -> Table:
    """Jaccard, boundary distance and calibration beside the Dice."""
    rows = []
    for title, arm in setup.arms.items():
        counts = [labels for labels in arm.figures() if labels in budgets or arm.strategy == ALL_LABELS]
        for labels in counts:
            rows.append(
                [
                    title,
                    str(labels),
                    *(
                        _spread(arm.figures(name).get(labels, {}).values(), digits)
                        for name, digits in (("dice", 4), ("jaccard", 4), ("hd95", 2), ("ece", 4))
                    ),
                ]
            )
    return Table(
        ["start/strategy", "labels", "Dice", "Jaccard", "HD95", "ECE"],
        rows,
        "Means over seeds ± standard deviation. HD95: 95 % Hausdorff distance, in mm where the files tell the spacing, "
        "else in pixels (only with --hd95). ECE: expected calibration error of the predicted probabilities over all "
        "pixels of the test, 0 to 1, lower is better (Guo et al. 2017, 15 bins).",
        title="Other scores",
        folded=True,
    )


def cost_table(setup: Setup) -> Table:
    """What selection and training took."""
    rows = []
    for title, arm in setup.arms.items():
        labels = max(arm.figures())
        means = {name: arm.means(name).get(labels) for name in ("selection_seconds", "selection_gib", "train_seconds")}
        memory = means["selection_gib"]
        rows.append(
            [
                title,
                str(labels),
                _seconds(means["selection_seconds"]),
                "–" if memory is None else f"{1024 * memory:.0f} MiB",
                _seconds(means["train_seconds"]),
            ]
        )
    return Table(
        ["start/strategy", "labels", "selection", "its memory", "training"],
        rows,
        "Means over seeds at the largest budget, of selection alone (the images are embedded once before). Memory is "
        "what the process took on top; other processes on the machine make times longer.",
        title="Time and memory",
        folded=True,
    )


def subgroup_table(
    setup: Setup, ledger: Ledger, groups: Mapping[str, Mapping[str, Sequence[str]]], labels: int | None, title: str
) -> Table:
    """Mean Dice in every group of test images, a column an arm.

    Args:
        groups: kind to group to ids.
        labels: of the runs, or None for those with all labels.
        title: of the table.
    """
    arms = {
        name: [row for (count, _), row in sorted(arm.rows.items()) if labels in (None, count)]
        for name, arm in (setup.compared if labels is not None else setup.arms).items()
        if labels is not None or arm.strategy == ALL_LABELS
    }
    arms = {name: rows for name, rows in arms.items() if rows}
    if not arms or not groups:
        raise Absent(f"{title}: no group of the test images is known, or no run is there.")
    scores = {name: [ledger.scores(row["run"]) for row in rows] for name, rows in arms.items()}
    cells = []
    for kind, members in groups.items():
        for group, ids in members.items():
            chosen = set(ids)
            means = {
                name: [float(np.mean([d for i, d in zip(s.ids, s.dice, strict=True) if i in chosen])) for s in found]
                for name, found in scores.items()
            }
            cells.append([kind, group, str(len(ids)), *(_spread(means[name]) for name in arms)])
    return Table(
        ["by", "group", "images", *arms],
        cells,
        "Mean Dice of the group's images ± standard deviation over seeds. Skin tone by the individual typology angle "
        "of the skin around the lesion; dermatoscopes are not calibrated for colour. Image size by thirds.",
        title=title,
        text_columns=2,
    )


def markdown(table: Table, title: str) -> str:
    """The table for a terminal or a Markdown page, its caption below."""
    lines = [f"### {title}", ""]
    for number, row in enumerate((table.header, *table.rows)):
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |")
        if not number:
            lines.append(f"|{'---|' * len(table.header)}")
    return "\n".join([*lines, "", table.caption, ""])


def _budget_difference(arm: Arm, reference: Arm, labels: int) -> str:
    a, b = arm.figures().get(labels, {}), reference.figures().get(labels, {})
    if not a.keys() & b.keys():
        return "–"
    found = paired_difference(a, b)
    return f"{_signed(100 * found.mean, 1)} ({found.wins}/{found.ties}/{found.losses})"


def _ratio(found: Crossing, base: Crossing | None) -> str:
    """How many labels ``found`` takes of those of ``base``; a bound where one of them is one."""
    if base is None or base.labels is None or found.labels is None or (found.bound and base.bound):
        return "–"
    return f"{'≤ ' if found.bound else '≥ ' if base.bound else ''}{found.labels / base.labels:.2f}"


def _spread(values: Iterable[float], digits: int = 4) -> str:
    found = list(values)
    if not found:
        return "–"
    deviation = f" ± {np.std(found, ddof=1):.{digits}f}" if len(found) > 1 else ""
    return f"{np.mean(found):.{digits}f}{deviation} ({len(found)})"


def _points(found: Interval) -> str:
    mean, low, high = (_signed(100 * value, 2) for value in (found.mean, found.low, found.high))
    return mean if math.isnan(found.low) else f"{mean} [{low}, {high}]"


def _signed(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:+.{digits}f}"  # + 0.0: no "-0.00"


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else duration(value)


def _listed(budgets: Sequence[int]) -> str:
    return "at " + ", ".join(map(str, budgets)) if budgets else "at no shared budget"
