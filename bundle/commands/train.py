"""``train``: fine-tune the U-Net on the labels there are."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bundle.commands.options import absolute, add_workflow_options, datalist_modality, settings

DESCRIPTION = """\
Fine-tune the U-Net on the training section of a datalist, from self-supervised weights.

  on what was selected and annotated:
    coldstart train --datalist run/labelled/datalist.json \\
        --ssl-weights run/pretrain/model_ssl_pretrained.pt --out run/train

  the same from random weights, to see what the pretraining gives:
    coldstart train --datalist run/labelled/datalist.json --warm-start none --out run/train_from_random

  self-training: what that model believes of the pool's other images teaches a second one along with the labels:
    coldstart train --datalist run/labelled/datalist.json --teacher run/train/model.pt \\
        --ssl-weights run/pretrain/model_ssl_pretrained.pt --out run/self_trained

OUT gets model.pt (the last step, with the learning rate at 0), model_best.pt (the best on validation, where
the datalist has any), history.csv, run.json and a checkpoint. Killed at any moment, the same command goes on.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--datalist", required=True, help="datalist with labels in its training section")
    parser.add_argument("--out", required=True, help="folder for the weights and the course of the training")
    parser.add_argument("--warm-start", choices=("all", "encoder", "none"), help="what to copy (default all)")
    parser.add_argument("--ssl-weights", help="weights to start from; default: those shipped for the modality")
    parser.add_argument("--steps", type=int, help="optimiser steps, a multiple of epoch_length, 40 (default 800)")
    parser.add_argument("--teacher", help="model.pt of an earlier training, whose view of the pool teaches along")
    parser.add_argument("--pseudo-labels", help="table of masks that a model made, to learn from as well")
    add_workflow_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run the workflow and print the path of the weights."""
    from bundle.run.stages import bundle_root
    from bundle.run.workflow import run_claimed
    from bundle.weights import shipped_weights

    weights = args.ssl_weights
    modality = args.modality or datalist_modality(args.datalist)
    if weights is None and args.warm_start != "none" and modality:  # never those of another modality, unasked
        kind = "model_ssl_pretrained"
        weights = shipped_weights(kind, modality) or bundle_root() / "models" / f"{kind}_{Path(modality).stem}.pt"
    overrides = settings(
        args,
        datalist=absolute(args.datalist),
        output_dir=absolute(args.out),
        warm_start=args.warm_start,
        ssl_weights=absolute(weights),
        teacher=absolute(args.teacher),
        pseudo_labels=absolute(args.pseudo_labels),
    )
    if args.steps is not None:
        overrides.setdefault("epochs", _epochs(args.steps, overrides))
    folder = run_claimed("train", args.out, overrides, overwrite=args.overwrite)
    print(folder / "model.pt")
    return 0


def _epochs(steps: int, overrides: Mapping[str, Any]) -> int:
    """How many epochs ``steps`` are, each as long as the config or an override has it."""
    from bundle.run.stages import written_setting

    length = overrides.get("epoch_length", written_setting("train", "epoch_length"))
    if not isinstance(length, int) or length < 1:
        return 1  # the knob's own rule refuses it
    if steps < length or steps % length:
        raise ValueError(f"--steps must be a multiple of {length}, the steps of an epoch, got {steps}")
    return steps // length
