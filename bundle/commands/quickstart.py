"""``quickstart``: the whole main job, from a folder of images to a report."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bundle.commands.chain import run_stage

DESCRIPTION = """\
Run every stage in turn: datalist, pretrain, embed, select, fine-tune (warm and from random weights, on selected and on
randomly drawn labels), evaluate, infer, report.

  on drawn demo images, in a few minutes:
    coldstart quickstart --out run
    coldstart quickstart --modality chest_xray --out run_chest

  on your own folder; without masks it stops after the selection and says what to annotate, with masks for some images
  it trains on these, and with masks for all it also compares with randomly drawn labels:
    coldstart quickstart --images photos --out run --budget 40
    coldstart quickstart --images photos --masks masks --out run_labelled --budget 40

Killed at any moment, the same command goes on. The last line printed is the path of report.html.
"""

# The demo is to end within six minutes on two cores: small numbers that still show every stage at work.
DEMO: dict[str, Any] = {"images": 240, "budget": 16, "pretraining": ["steps=450", "batch_size=32"], "steps": 160}
OWN: dict[str, Any] = {"budget": 40, "pretraining": [], "steps": 400}
# Folder of a run to the datalist that it learns from, and what it starts from.
PARTLY_LABELLED = {"warm": ("datalist.json", "all"), "scratch": ("datalist.json", "none")}
FULLY_LABELLED = {
    "warm_selected": ("selection/selection.json", "all"),
    "scratch_selected": ("selection/selection.json", "none"),
    "warm_random": ("selection_random/selection.json", "all"),
    "scratch_random": ("selection_random/selection.json", "none"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--out", default="runs/quickstart", help="folder for everything (default runs/quickstart)")
    parser.add_argument(
        "--modality", default="dermoscopy", help="dermoscopy (default), chest_xray or your own YAML file"
    )
    parser.add_argument("--images", help="your own folder of images; without it a demo data set is drawn")
    parser.add_argument("--masks", help="folder of masks with the images' names")
    parser.add_argument("--budget", type=int, help="images to annotate (default 16 in the demo, 40 on your own folder)")
    parser.add_argument("--strategy", default="coldstart", help="how to select (default coldstart)")
    parser.add_argument("--seed", type=int, default=0, help="seed of every random choice (default 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace what another run left in OUT")


def run(args: argparse.Namespace) -> int:
    """Run what is not done yet and print the path of the report."""
    from bundle.run.claim import claim_folder

    if args.masks and not args.images:
        raise ValueError("--masks needs --images: the demo draws its own masks")
    request = {name: value for name, value in vars(args).items() if name not in ("out", "overwrite")}
    out = claim_folder(Path(args.out).absolute(), {"stage": "quickstart", **request}, overwrite=args.overwrite)
    stages = _Stages(out, args)
    stages.data()
    stages.pretrain()
    stages.select()
    if not stages.has_masks:
        report = stages.report()
        listed = out / "selection" / "selection.csv"
        print(f"Annotate the images of {listed}, best first; then run again with --masks and another --out.")
        print(report)
        return 0
    runs = FULLY_LABELLED if stages.all_labelled() else PARTLY_LABELLED
    stages.fine_tune(runs)
    stages.infer(next(iter(runs)))
    print(stages.report())
    return 0


class _Stages:
    """The stages of the main job, each skipped where its record says that it is done."""

    def __init__(self, out: Path, args: argparse.Namespace) -> None:
        self.out, self.args = out, args
        self.own = args.images is not None
        sizes = OWN if self.own else DEMO
        self.budget = args.budget or sizes["budget"]
        self.pretrain_knobs = sizes["pretraining"]
        self.steps = sizes["steps"]
        self.images = Path(args.images).absolute() if self.own else out / "demo" / "images"
        self.masks = Path(args.masks).absolute() if args.masks else None if self.own else out / "demo" / "masks"
        self.datalist = out / "datalist.json"
        self.weights = out / "pretrain" / "model_ssl_pretrained.pt"

    @property
    def has_masks(self) -> bool:
        """Whether there is something to train on."""
        return self.masks is not None

    def all_labelled(self) -> bool:
        """Whether every image of the pool has a mask, so that any draw of labels can be tried."""
        pool = json.loads(self.datalist.read_text(encoding="utf-8"))["pool"]
        return all("label" in entry for entry in pool)

    def data(self) -> None:
        """Draw the demo where no folder is given, and list the images."""
        if not self.own:
            self._do("make_demo", out=self.out / "demo", modality=self.args.modality, count=DEMO["images"])
        options: dict[str, Any] = {}
        if self.has_masks:
            # No validation: the last step is what is scored, and every label that there is should teach.
            options = {"masks": self.masks, "test_fraction": 0.2, "validation_fraction": 0.0}
        self._do(
            "make_datalist",
            done=self.datalist,
            out=self.datalist,
            images=self.images,
            modality=self.args.modality,
            **options,
        )

    def pretrain(self) -> None:
        """Self-supervision on the pool, then its embeddings."""
        self._do("pretrain", out=self.out / "pretrain", datalist=self.datalist, set=self.pretrain_knobs)
        self._do(
            "embed",
            done=self.out / "embeddings",
            out=self.out / "embeddings",
            datalist=self.datalist,
            weights=self.weights,
            seed=None,
        )

    def select(self) -> None:
        """The strategy's choice, and a random one to compare with."""
        common: dict[str, Any] = {
            "datalist": self.datalist,
            "embeddings": self.out / "embeddings",
            "budget": self.budget,
        }
        self._do("select_samples", out=self.out / "selection", strategy=self.args.strategy, **common)
        if self.has_masks and self.all_labelled():
            self._do("select_samples", out=self.out / "selection_random", strategy="random", **common)

    def fine_tune(self, runs: Mapping[str, tuple[str, str]]) -> None:
        """Every run, scored on the test images where these have masks."""
        test = json.loads(self.datalist.read_text(encoding="utf-8"))["test"]
        for name, (datalist, scope) in runs.items():
            self._do(
                "train",
                done=self.out / name / "model.pt",
                out=self.out / name,
                datalist=self.out / datalist,
                warm_start=scope,
                ssl_weights=self.weights,
                steps=self.steps,
            )
            if any("label" in entry for entry in test):
                scores = self.out / name / "evaluation"
                self._do("evaluate", out=scores, datalist=self.datalist, model=self.out / name / "model.pt")

    def infer(self, run: str) -> None:
        """Masks for all images by the model of a run."""
        self._do(
            "infer",
            out=self.out / "predictions",
            images=self.images,
            modality=self.args.modality,
            model=self.out / run / "model.pt",
            seed=None,
        )

    def report(self) -> Path:
        """The page of the whole run."""
        page = self.out / "report.html"
        page.unlink(missing_ok=True)  # it is made anew from whatever is done by now
        self._do("report", done=page, run=self.out, out=page, seed=None)
        return page

    def _do(self, verb: str, done: Path | None = None, **options: Any) -> None:
        run_stage(verb, done=done or Path(options["out"]) / "run.json", **{"seed": self.args.seed, **options})
