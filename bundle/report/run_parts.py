"""The sections on a whole run: what was run, pretraining, training, evaluation, inference."""

from __future__ import annotations

import contextlib
import functools
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import numpy as np

from bundle.embedding import Embeddings
from bundle.report.blocks import (
    Absent,
    Block,
    Chart,
    Facts,
    Note,
    Section,
    Table,
    Tiles,
    chart,
    describe,
    duration,
    plain,
)
from bundle.report.curves import learning_curves, policy_scores, pretraining_curves
from bundle.report.montage import case_tiles, prediction_tiles
from bundle.report.run_folder import RunFolder, mapping, numbers
from bundle.report.scores import score_plot
from bundle.report.selection_part import SelectionPart
from bundle.report.style import run_title

SECTIONS = {  # of the datalist, and what each is for
    "pool": "looked at by pretraining and selection",
    "training": "learned from",
    "validation": "a part of the labelled pool that is not learned from",
    "test": "for the final score alone",
}
PRETRAINING_TERMS = {  # column of the history to the title of its panel
    "loss": "Total loss",
    "contrastive": "Contrast of images (nats)",
    "restoration": "Restoration loss",
    "retrieval": "Own image first (share)",
    "local": "Contrast of places (nats)",
    "matched": "Own place first (share)",
}
LOSS_PARTS = ("Contrast of images (nats)", "Contrast of places (nats)", "Restoration loss")
LAYOUT = "it needs a datalist.json, or one of the folders pretrain, selection, predictions or of a training run"
RUNS_WITH_CASES = 4  # whose worst and median cases are shown; eight pictures each


def sections(run: RunFolder) -> list[Section]:
    """Every section of the report of ``run``, in the order in which the stages follow each other."""
    return [what_was_run(run), pretraining(run), selection(run), training(run), evaluation(run), inference(run)]


def glance(run: RunFolder) -> Facts | None:
    """The run in four figures; None where there is none of them."""
    items: list[tuple[str, str, str]] = []
    with contextlib.suppress(Absent):
        pool = run.json("datalist.json").get("pool", [])
        items.append((str(len(pool)), "images in the pool", modality_name(run)))
    with contextlib.suppress(Absent):
        items.append((str(len(run.rows("selection/selection.csv"))), "selected to annotate", ""))
    summaries = _summaries(run)
    best = max(summaries, key=lambda name: _mean(summaries[name]), default=None)
    if best is not None and _mean(summaries[best]) >= 0:
        items.append((f"{_mean(summaries[best]):.3f}", "highest mean Dice of the runs", run_title(best)))
    seconds = [record["seconds"] for record in run.records().values() if _finite(record.get("seconds"))]
    if seconds:
        items.append((duration(sum(seconds)), "time of all stages", ""))
    return Facts(items) if items else None


def what_was_run(run: RunFolder) -> Section:
    """Data, stages with time and seed, versions and hardware."""
    section = Section("run", "What was run")

    def data() -> Iterator[Block]:
        datalist = run.json("datalist.json")
        rows = []
        for name, purpose in SECTIONS.items():
            entries = datalist.get(name, [])
            groups = {entry["group"] for entry in entries if entry.get("group")}
            labelled = sum("label" in entry for entry in entries)
            rows.append([name, purpose, str(len(entries)), str(labelled), str(len(groups)) if groups else "–"])
        yield Table(
            ["section", "what for", "images", "with a label", "patients"],
            rows,
            title=f"Data: {_describe_modality(run)}",
            text_columns=2,
            caption="Training and validation are parts of the pool; no image and no patient of the test is elsewhere.",
        )

    def set_aside() -> Block:
        rows = run.rows("quarantine.csv", may_be_empty=True)
        if not rows:
            return Note("No file was set aside: all that were found could be used.")
        # Reasons only: a path may tell a name.
        counts = Counter(row.get("reason", "").split(":")[0] or "no reason given" for row in rows)
        return Table(
            ["reason", "files"],
            [[reason, str(count)] for reason, count in counts.most_common()],
            title=f"Set aside: {len(rows)} files",
            caption="quarantine.csv names them.",
        )

    def stages() -> Iterator[Block]:
        records = run.records()
        if not records:
            raise Absent("No table of the stages: there is no run.json.")
        yield Table(
            ["stage", "folder", "started (UTC)", "time", "seed"],
            [
                [
                    str(record.get("stage", "")),
                    _place(place),
                    str(record.get("started", ""))[:16].replace("T", " "),
                    duration(record.get("seconds")),
                    plain(record.get("seed")),
                ]
                for place, record in records.items()
            ],
            title="Stages",
            text_columns=2,
        )
        for title, kinds in (
            ("Settings, results and fingerprints of every stage", ("settings", "results", "timings", "fingerprints")),
            ("Versions and hardware", ("versions", "hardware")),
        ):
            rows = [
                [_place(place), kind, str(key), plain(value)]
                for place, record in records.items()
                for kind in kinds
                for key, value in mapping(record.get(kind)).items()
            ]
            if rows:
                yield Table(["folder", "", "name", "value"], rows, title=title, folded=True, text_columns=4)

    section.add(data)
    section.add(set_aside)
    section.add(stages)
    return section


def pretraining(run: RunFolder) -> Section:
    """Loss curves, the choice of the hardest augmentation, signs of collapse."""
    section = Section("pretraining", "Self-supervised pretraining")

    def curves() -> Chart:
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

    def policies() -> Iterator[Block]:
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

    def collapse() -> Facts:
        signs = mapping(mapping(run.json("pretrain/run.json").get("results")).get("collapse"))
        if not signs:
            raise Absent("No check for collapse: pretrain/run.json does not tell one.")
        names = {
            "descriptor_spread": ("spread of the descriptors", "1: in all directions; 0: one vector for all"),
            "effective_rank": ("effective rank", "dimensions that the descriptors really use"),
            "restored_spread": ("spread of restored images", "1: as the originals; 0: one picture for all"),
        }
        items = [(f"{signs[key]:.3g}", *words) for key, words in names.items() if _finite(signs.get(key))]
        warnings = signs.get("warnings") or []
        return Facts([("collapse" if warnings else "no collapse", "check", " ".join(map(str, warnings))), *items])

    section.add(curves)
    section.add(policies)
    section.add(collapse)
    return section


def selection(run: RunFolder) -> Section:
    """What to annotate, and why these."""
    try:
        rows = run.rows("selection/selection.csv")
    except Absent as absent:
        section = Section("selection", "Selection")
        section.add(_raise(absent))
        return section
    try:
        diagnostics = run.json("selection/diagnostics.json")
    except Absent:
        diagnostics = {}
    try:
        embeddings = Embeddings.load(run.path / "embeddings")
    except (ValueError, OSError):
        embeddings = None
    paths = {row["id"]: run.path / row["image"] for row in rows if row.get("image")} | run.image_paths
    record = run.records().get("selection", {})
    named = {"strategy": mapping(record.get("settings")).get("strategy")}
    return SelectionPart(rows, named | diagnostics, embeddings, paths, run.modality).section()


def training(run: RunFolder) -> Section:
    """How every training run went."""
    section = Section("training", "Training")

    def curves() -> Iterator[Block]:
        histories: dict[str, dict[str, Any]] = {}
        for name in run.training_runs():
            try:
                rows = run.rows(f"{name}/history.csv")
            except Absent as absent:
                yield Note(str(absent), muted=True)
                continue
            steps = "step" if np.isfinite(numbers(rows, "step")).any() else "epoch"
            histories[name] = {
                "step": numbers(rows, steps),
                "loss": numbers(rows, "loss"),
                "val_dice": numbers(rows, "val_dice"),
            }
        if not histories:
            raise Absent("No learning curves: no folder of the run has a history.csv.")
        yield chart(
            learning_curves(histories),
            f"Curves: training loss and validation Dice by step of {', '.join(map(run_title, histories))}.",
            "One training each: a difference between two curves is not yet a difference between two methods.",
        )
        lines = []
        for name, columns in histories.items():
            known = columns["val_dice"][np.isfinite(columns["val_dice"])]
            last = columns["step"][np.isfinite(columns["step"])]
            seconds = run.records().get(name, {}).get("seconds")
            lines.append(
                [
                    run_title(name),
                    f"{last[-1]:.0f}" if len(last) else "–",
                    f"{known[-1]:.3f}" if len(known) else "–",
                    f"{known.max():.3f}" if len(known) else "–",
                    duration(seconds),
                ]
            )
        yield Table(["run", "steps", "last validation Dice", "best", "time"], lines)

    section.add(curves)
    return section


def evaluation(run: RunFolder) -> Section:
    """Scores on held-out images: means with intervals, every image, groups, the worst and the median cases."""
    section = Section("evaluation", "Evaluation")
    summaries = _summaries(run)
    dice = _dice(run)

    def table() -> Table:
        if not summaries:
            raise Absent("No scores: no folder of the run has evaluation/summary.json.")
        ordered = sorted(summaries.items(), key=lambda pair: -_mean(pair[1]))
        return Table(
            ["run", "n", "mean Dice", "median Dice", "mean Jaccard", "mean HD95"],
            [
                [
                    run_title(name),
                    plain(summary.get("n")),
                    _with_interval(summary.get("dice"), 3),
                    _figure(mapping(summary.get("dice")).get("median"), 3),
                    _with_interval(summary.get("jaccard"), 3),
                    _with_interval(summary.get("hd95"), 1),
                ]
                for name, summary in ordered
            ],
            caption="In brackets the 95 % bootstrap interval over the images: how sure the mean is for this one model. "
            "Another seed would move it as well. HD95 is in mm where the files tell the size of a pixel, and in pixels "
            "elsewhere; lower is better.",
        )

    def charts() -> Iterator[Block]:
        scores = {
            name: (float(one["mean"]), float(one["low"]), float(one["high"]))
            for name, one in ((name, mapping(summary.get("dice"))) for name, summary in summaries.items())
            if all(_finite(one.get(key)) for key in ("mean", "low", "high"))
        }
        if scores or dice:
            yield chart(
                score_plot({name: list(one.values()) for name, one in dice.items()}, scores),
                f"Dice of every image, and mean Dice with its interval, of {len(set(dice) | set(scores))} runs.",
                "Left: a dot an image; the bar is the median, the box the quartiles. Right: the mean and its interval, "
                "on a finer axis.",
            )

    def groups() -> Iterator[Block]:
        found = {name: _groups(summaries[name]) for name in best_first[:RUNS_WITH_CASES]}
        order = list(dict.fromkeys(key for one in found.values() for key in one))
        if order:
            yield Table(
                ["group", "images", *map(run_title, found)],
                [
                    [f"{kind}: {group}", images, *(one.get((kind, group, images), "–") for one in found.values())]
                    for kind, group, images in order
                ],
                caption="Mean Dice of groups of images, in brackets the 95 % bootstrap interval over the group's "
                "images. Skin tone is told by the colour around the lesion, which no dermatoscope calibrates.",
            )

    def cases(name: str, folded: bool) -> Tiles:
        tiles = case_tiles(
            mapping(summaries[name].get("cases")),
            run.path / name / "evaluation" / "overlays",
            title=f"Worst and median cases: {run_title(name)}",
            folded=folded,
        )
        if not tiles.tiles:
            raise Absent(f"No cases of {run_title(name)}: {name}/evaluation/overlays has no pictures of them.")
        return tiles

    section.add(table)
    section.add(charts)
    best_first = sorted(summaries, key=lambda name: -_mean(summaries[name]))
    section.add(groups)
    for name in best_first[:RUNS_WITH_CASES]:
        section.add(functools.partial(cases, name, folded=name != best_first[0]))
    if len(best_first) > RUNS_WITH_CASES:
        rest = len(best_first) - RUNS_WITH_CASES
        section.blocks.append(Note(f"Cases of {rest} runs with a lower mean are not shown.", muted=True))
    return section


def inference(run: RunFolder) -> Section:
    """Some predicted masks."""
    section = Section("inference", "Inference")

    def tiles() -> Tiles:
        rows = run.rows("predictions/predictions.csv")
        if run.modality is None:
            raise Absent("No pictures: nothing tells the modality, so the images cannot be read.")
        return prediction_tiles(rows, run.path / "predictions", run.image_paths, run.modality)

    section.add(tiles)
    return section


def _place(folder: str) -> str:
    return "the run's own" if folder == "." else folder


def _summaries(run: RunFolder) -> dict[str, dict[str, Any]]:
    found = {}
    for name in run.training_runs():
        try:
            found[name] = run.json(f"{name}/evaluation/summary.json")
        except Absent:
            continue
    return found


def _groups(summary: dict[str, Any]) -> dict[tuple[str, str, str], str]:
    """Kind, name and number of images of each group to its mean Dice with the interval."""
    found = {}
    listed = summary.get("groups")
    for row in map(mapping, listed if isinstance(listed, list) else []):
        dice = {"mean": row.get("dice"), "low": row.get("dice_low"), "high": row.get("dice_high")}
        kind, group, images = (plain(row.get(name)) for name in ("kind", "group", "images"))
        found[kind, group, images] = _with_interval(dice, 3)
    return found


def _dice(run: RunFolder) -> dict[str, dict[str, float]]:
    """Run's name to id to Dice; images without a Dice are left out."""
    found = {}
    for name in run.training_runs():
        try:
            rows = run.rows(f"{name}/evaluation/per_image.csv")
        except Absent:
            continue
        values = zip((row.get("id", "") for row in rows), numbers(rows, "dice"), strict=True)
        known = {identifier: float(value) for identifier, value in values if np.isfinite(value)}
        if known:
            found[name] = known
    return found


def modality_name(run: RunFolder) -> str:
    """The modality in a word, also where the user's own is given by a path."""
    return PurePath(run.modality).stem if run.modality else ""


def _describe_modality(run: RunFolder) -> str:
    from bundle.data.modality import load_modality

    try:
        return load_modality(run.modality).description if run.modality else "of unknown modality"
    except (ValueError, OSError) as error:
        return f"{modality_name(run)} ({describe(error)})"


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _figure(value: Any, digits: int) -> str:
    return f"{value:.{digits}f}" if _finite(value) else "–"


def _mean(summary: dict[str, Any]) -> float:
    mean: Any = mapping(summary.get("dice")).get("mean")
    return float(mean) if _finite(mean) else -1.0


def _with_interval(score: Any, digits: int) -> str:
    score = mapping(score)
    mean = _figure(score.get("mean"), digits)
    if not (_finite(score.get("low")) and _finite(score.get("high"))):
        return mean
    return f"{mean} [{score['low']:.{digits}f}, {score['high']:.{digits}f}]"


def _raise(error: Exception):
    def build():
        raise error

    return build
