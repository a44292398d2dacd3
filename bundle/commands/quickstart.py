"""``quickstart``: the whole main job, from a folder of images to a report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bundle.commands.chain import run_stage

DESCRIPTION = """\
Run every stage in turn: datalist, pretrain, embed, select, fine-tune (warm and from random weights, on selected and on
randomly drawn labels), evaluate, infer, report.

  on drawn demo images, in a few minutes:
    coldstart quickstart --out run
    coldstart quickstart --modality chest_xray --out run_chest

  on your own folder; without masks it stops after the selection and says what to annotate:
    coldstart quickstart --images photos --out run --budget 40
    coldstart quickstart --images photos --masks masks --out run --budget 40

Killed at any moment, the same command goes on. The last line printed is the path of report.html.
"""

# The demo is to end within six minutes on two cores: small numbers that still show every stage at work.
DEMO = {"images": 240, "budget": 16, "pretrain_epochs": 30, "steps": 160}
OWN = {"budget": 40, "pretrain_epochs": 40, "steps": 400}
RUNS = {
    "warm_selected": ("selection", "encoder"),
    "scratch_selected": ("selection", "none"),
    "warm_random": ("selection_random", "encoder"),
    "scratch_random": ("selection_random", "none"),
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
    parser.add_argument("--strategy", default="ca", help="how to select (default ca)")
    parser.add_argument("--seed", type=int, default=0, help="seed of every random choice (default 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace what another run left in OUT")


def run(args: argparse.Namespace) -> int:
    """Run what is not done yet and print the path of the report."""
    from bundle.run.workflow import claim_folder

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
        print(f"Annotate the images of {listed}, best first; then run again with --masks and --overwrite.")
        print(report)
        return 0
    stages.fine_tune()
    stages.infer()
    print(stages.report())
    return 0


class _Stages:
    """The stages of the main job, each skipped where its record says that it is done."""

    def __init__(self, out: Path, args: argparse.Namespace) -> None:
        self.out, self.args = out, args
        self.own = args.images is not None
        sizes = OWN if self.own else DEMO
        self.budget = args.budget or sizes["budget"]
        self.pretrain_epochs, self.steps = sizes["pretrain_epochs"], sizes["steps"]
        self.images = Path(args.images).absolute() if self.own else out / "demo" / "images"
        self.masks = Path(args.masks).absolute() if args.masks else None if self.own else out / "demo" / "masks"
        self.datalist = out / "datalist.json"
        self.weights = out / "pretrain" / "model_ssl_pretrained.pt"

    @property
    def has_masks(self) -> bool:
        """Whether there is something to train on."""
        return self.masks is not None

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
        knobs = [f"epochs={self.pretrain_epochs}"]
        self._do("pretrain", out=self.out / "pretrain", datalist=self.datalist, set=knobs)
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
        if self.has_masks:
            self._do("select_samples", out=self.out / "selection_random", strategy="random", **common)

    def fine_tune(self) -> None:
        """Warm and from random weights, on the selected and on random labels, each scored on the test images."""
        for name, (selection, scope) in RUNS.items():
            self._do(
                "train",
                done=self.out / name / "model.pt",
                out=self.out / name,
                datalist=self.out / selection / "selection.json",
                warm_start=scope,
                ssl_weights=self.weights,
                steps=self.steps,
            )
            self._do(
                "evaluate",
                out=self.out / name / "evaluation",
                datalist=self.out / selection / "selection.json",
                model=self.out / name / "model.pt",
            )

    def infer(self) -> None:
        """Masks for all images by the warm model on the selected labels."""
        self._do(
            "infer",
            out=self.out / "predictions",
            images=self.images,
            modality=self.args.modality,
            model=self.out / "warm_selected" / "model.pt",
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
