"""``pretrain``: self-supervised pretraining on the unlabelled pool."""

from __future__ import annotations

import argparse

from bundle.commands.options import absolute, add_workflow_options, settings

DESCRIPTION = """\
Pretrain the U-Net on the unlabelled pool, without a single label.

  by momentum contrast, as contrastive annotation does:
    coldstart pretrain --datalist datalist.json --out run/pretrain

  by restoration, as SAAL does, or by both on one network:
    coldstart pretrain --datalist datalist.json --objective restoration --out run/pretrain_restoration
    coldstart pretrain --datalist datalist.json --objective joint --out run/pretrain_joint

  going on from shipped weights on a hospital's own pool:
    coldstart pretrain --datalist datalist.json --init models/model_ssl_pretrained.pt --set epochs=10 --out run/pretrain

OUT gets model_ssl_pretrained.pt, history.csv, policies.json, run.json and a checkpoint. Killed at any moment, the same
command goes on and ends where the undisturbed run ends.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--datalist", required=True, help="datalist.json of make_datalist")
    parser.add_argument("--out", required=True, help="folder for the weights and the course of the training")
    parser.add_argument("--section", default="pool", help="section of the datalist to learn from (default pool)")
    parser.add_argument("--objective", choices=("contrastive", "restoration", "joint"), help="default: contrastive")
    parser.add_argument("--init", help="SSL weights to go on from")
    add_workflow_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run the workflow and print the path of the weights."""
    from bundle.run.workflow import run_claimed

    overrides = settings(
        args,
        datalist=absolute(args.datalist),
        output_dir=absolute(args.out),
        section=args.section,
        objective=args.objective,
        init=absolute(args.init),
    )
    folder = run_claimed("pretrain", args.out, overrides, overwrite=args.overwrite)
    print(folder / "model_ssl_pretrained.pt")
    return 0
