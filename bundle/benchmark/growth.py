"""What each stage costs as the number of images grows: every run in a process of its own, its time and peak memory."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from bundle.benchmark.power_law import fitted_exponent
from bundle.report.style import CYCLE, DASHES, FULL, MARKERS, new_figure, styled
from bundle.run.seeds import numpy_stream

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BUDGET = 100  # images that are selected, and at most as many are trained on
TEST_SHARE = 0.2


@dataclasses.dataclass(frozen=True)
class StageCost:
    """One stage on so many images.

    Attributes:
        stage: the command.
        images: in the pool and the test section together.
        seconds: wall time of the process, start included.
        processor: seconds of the cores, which other work on the machine disturbs less.
        memory: peak resident memory in GiB, libraries included.
    """

    stage: str
    images: int
    seconds: float
    processor: float
    memory: float


def draw_folder(folder: Path, images: int, *, seed: int, source: Path | None = None) -> Path:
    """Write ``images/`` and ``masks/`` with that many pictures and return ``folder``.

    Args:
        source: a folder with ``images/`` and ``masks/``, whose pictures are repeated with small changes of brightness
            and noise; without it 240 drawn demo pictures are.
    """
    if source is None:
        from bundle.data.demo.folder import make_demo

        source = make_demo(folder.with_name("source"), count=240, seed=seed)
    masks = {file.stem.removesuffix("_segmentation"): file for file in (source / "masks").rglob("*.png")}
    pictures = [file for file in sorted((source / "images").rglob("*")) if file.stem in masks]
    if not pictures:
        raise ValueError(f"{source} must hold images/ and masks/ with PNG masks of the same names; none was found")
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for i in range(images):
        file = pictures[i % len(pictures)]
        rng = numpy_stream(seed, "growth", i)
        values = np.asarray(Image.open(file).convert("RGB"), dtype=np.float32)
        changed = values * rng.uniform(0.9, 1.1) + 3 * rng.standard_normal(values.shape, dtype=np.float32)
        Image.fromarray(changed.clip(0, 255).astype(np.uint8)).save(folder / "images" / f"{i:06d}.jpg", quality=90)
        (folder / "masks" / f"{i:06d}.png").hardlink_to(masks[file.stem])
    return folder


def grow(
    data: Path, work: Path, images: int, *, modality: str, stages: Sequence[str], seed: int
) -> Iterator[StageCost]:
    """Run the stages that are asked for, and those before them, on one folder of ``draw_folder``.

    Pretraining makes one pass over the pool, and training one epoch of 40 steps on at most ``BUDGET`` images, so that
    what is measured grows by the images and not by a wish for quality.
    """
    datalist, weights = work / "datalist.json", work / "pretrain" / "model_ssl_pretrained.pt"
    seeds = ["--seed", str(seed)]
    commands = {
        "make_datalist": [
            *("--images", data / "images", "--masks", data / "masks", "--modality", modality, "--out", datalist),
            *("--test-fraction", TEST_SHARE, *seeds),
        ],
        "pretrain": ["--datalist", datalist, "--out", work / "pretrain", "--set", "epochs=1", *seeds],
        "embed": ["--datalist", datalist, "--weights", weights, "--out", work / "embeddings"],
        "select_samples": [
            *("--datalist", datalist, "--embeddings", work / "embeddings", "--budget", min(BUDGET, images // 4)),
            *("--out", work / "selection", *seeds),
        ],
        "train": [
            *("--datalist", work / "selection" / "selection.json", "--ssl-weights", weights, "--steps", 40),
            *("--out", work / "train", *seeds),
        ],
        "evaluate": ["--datalist", datalist, "--model", work / "train" / "model.pt", "--out", work / "evaluation"],
        "infer": [
            *("--images", data / "images", "--modality", modality, "--model", work / "train" / "model.pt"),
            *("--out", work / "masks"),
        ],
    }
    order = list(commands)
    for stage in order[: 1 + max(map(order.index, stages))]:
        cost = _run(stage, list(map(str, commands[stage])), images)
        if stage in stages:
            yield cost


def exponent(costs: Sequence[StageCost], quantity: str) -> float | None:
    """The p of ``quantity`` ~ N^p; None with fewer than two sizes.

    The smallest sizes are mostly the start of the process, so sizes below a tenth of the largest are left out where
    two others remain.
    """
    largest = max(cost.images for cost in costs)
    late = [cost for cost in costs if 10 * cost.images >= largest]
    kept = late if len({cost.images for cost in late}) > 1 else costs
    return fitted_exponent([cost.images for cost in kept], [getattr(cost, quantity) for cost in kept])


@styled
def draw_growth(costs: Sequence[StageCost]) -> Figure:
    """Seconds and memory against images, all logarithmic, a line a stage with its fitted exponent."""
    figure, axes = new_figure(2, width=FULL, height=4.2)
    for panel, (quantity, label) in zip(axes, (("seconds", "seconds"), ("memory", "GiB")), strict=True):
        for number, stage in enumerate(dict.fromkeys(cost.stage for cost in costs)):
            own = [cost for cost in costs if cost.stage == stage]
            power = exponent(own, quantity)
            shown = stage if power is None else f"{stage}, N^{power:.2f}"
            again = number // len(CYCLE)  # a colour that comes again has another marker, and dashes
            style = {
                "color": CYCLE[number % len(CYCLE)],
                "marker": MARKERS[(number + again) % len(MARKERS)],
                "linestyle": DASHES[again % len(DASHES)],
            }
            values = [getattr(cost, quantity) for cost in own]
            panel.plot([cost.images for cost in own], values, label=shown, **style)  # type: ignore[arg-type]
        panel.set(xscale="log", yscale="log", xlabel="images", ylabel=label)
        panel.legend(fontsize=7)
    axes[0].set_title("Time of a stage")
    axes[1].set_title("Peak memory")
    return figure


def _run(stage: str, words: list[str], images: int) -> StageCost:
    command = [sys.executable, "-c", "import sys; from bundle.commands import main; sys.exit(main())", stage, *words]
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ValueError(f"{stage} on {images} images ended with code {process.returncode}: {said[-500:]}")
    seconds = time.perf_counter() - begun
    return StageCost(stage, images, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20)
