"""``benchmark_labels``: how many labels selection and pretraining save."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bundle.benchmark.page import Question
    from bundle.benchmark.protocol import Choice, Run
    from bundle.benchmark.runner import Bench

DESCRIPTION = """\
Train and score every combination of start, strategy, number of labels and seed on a labelled public set, all by the
recipe of `coldstart train` at equal steps, scored on the test images of split.csv by the last step's weights.

  the headline: random weights and warm start, random labels and selected ones, six budgets, ten seeds:
    coldstart benchmark_labels --data dermoscopy --modality dermoscopy --out bench/dermoscopy

  all labels, and shares of the pool:
    coldstart benchmark_labels --data dermoscopy --modality dermoscopy --budgets 10% 20% 30% all --seeds 3 \\
        --out bench/dermoscopy

  other strategies and an ablation, into the same folder:
    coldstart benchmark_labels --data dermoscopy --modality dermoscopy --starts all \\
        --strategies kmeans ca ca:k=20 ca:within=random --out bench/dermoscopy

  the negative control (vectors dealt out anew among the images), and a pool half of which is near-duplicates:
    coldstart benchmark_labels --data dermoscopy --modality dermoscopy --control shuffle --out bench/dermoscopy
    coldstart benchmark_labels --data dermoscopy --modality dermoscopy --pool redundant --out bench/dermoscopy

  to try out a strategy, or vectors of your own, without a look at the test images: scored on a held-back fifth of the
  pool, small and short, every seed choosing from its own half of what is left:
    coldstart benchmark_labels --data dermoscopy --modality dermoscopy --starts all --size 64 --steps 160 --seeds 20 \\
        --held-back 20% --candidates 50% --embeddings runs/embeddings --out bench/dermoscopy_trial

  tables and page from the rows alone, with the area over these budgets and another family of tests:
    coldstart benchmark_labels --report --budgets 5 10 20 40 80 160 --family "all/kmeans vs all/random" \\
        --out bench/dermoscopy

--data is a folder with images/, masks/ and split.csv (columns id, split). OUT gets a row a finished run in rows/, the
scores of every test image in scores/, results.csv, groups.csv (Dice by site, skin tone and image size) and report.html.
Killed, the same command goes on; started several times, also on several machines that share OUT, they divide the work.
A run with any other setting is another run.
"""

GIVEN = "given"  # features of vectors that the caller brings
BUDGETS = ["5", "10", "20", "40", "80", "160"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with images/, masks/, split.csv")
    parser.add_argument("--modality", metavar="M", help="dermoscopy, chest_xray or your own YAML file")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for rows, scores and tables")
    parser.add_argument(
        "--strategies",
        nargs="+",
        default=["random", "coldstart"],
        metavar="S",
        help="names, with options as in ca:k=20,within=random (default random coldstart)",
    )
    parser.add_argument(
        "--starts",
        nargs="+",
        choices=("none", "encoder", "all", "taught"),
        default=["none", "all"],
        metavar="START",
        help="of the fine-tuning: none, encoder, all, or taught: all, then self-training (default none all)",
    )
    parser.add_argument(
        "--budgets",
        nargs="+",
        default=BUDGETS,
        metavar="B",
        help="labels: numbers, shares of the pool such as 10%%, or all (default 5 10 20 40 80 160)",
    )
    parser.add_argument("--seeds", type=int, default=10, metavar="N", help="seeds 0 to N-1 (default 10)")
    parser.add_argument("--steps", type=int, default=400, metavar="N", help="steps of every training (default 400)")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="side of the canvas (default the modality's)")
    parser.add_argument(
        "--ssl-weights",
        type=Path,
        metavar="FILE",
        help="self-supervised weights; default: pretrained on the pool first",
    )
    parser.add_argument(
        "--pretrain-steps", type=int, metavar="N", help="of that pretraining (default as pretrain has it)"
    )
    parser.add_argument(
        "--embedding-weights",
        type=Path,
        metavar="FILE",
        help="what strategies see by (default those of the warm start)",
    )
    parser.add_argument("--features", choices=("scales", "bottleneck"), default="scales", help="default scales")
    parser.add_argument(
        "--embeddings", type=Path, metavar="DIR", help="what strategies see: a folder of embed, or vectors of your own"
    )
    parser.add_argument(
        "--control", choices=("none", "shuffle"), default="none", help="shuffle: vectors dealt out anew among the ids"
    )
    parser.add_argument(
        "--pool", choices=("curated", "redundant"), default="curated", help="redundant: near-duplicates are added"
    )
    parser.add_argument(
        "--candidates",
        default="100%",
        metavar="SHARE",
        help="each seed chooses from its own random share of the pool, such as 50%% (default 100%%)",
    )
    parser.add_argument(
        "--held-back",
        metavar="SHARE",
        help="take a share of the pool out of it, such as 20%%, and score on it and not on the test images",
    )
    parser.add_argument("--hd95", action="store_true", help="score the 95 %% Hausdorff distance as well (slow)")
    parser.add_argument(
        "--scoring", choices=("fp32", "bf16"), default="fp32", help="precision of the scoring (default fp32)"
    )
    parser.add_argument("--as-dicom", action="store_true", help="wrap the pictures into CR DICOM objects first")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="any knob of train.yaml; may be given again"
    )
    parser.add_argument("--report", action="store_true", help="no training: tables and page from the rows in OUT alone")
    parser.add_argument(
        "--family",
        nargs="+",
        metavar="'A vs B'",
        help="up to five comparisons tested together, as 'all/kmeans vs all/random' (default the 2 x 2 of coldstart)",
    )
    parser.add_argument(
        "--selected", default="coldstart", metavar="S", help="strategy of the 2 x 2 (default coldstart)"
    )
    parser.add_argument(
        "--target", type=float, default=95, metavar="PERCENT", help="of the all-labels Dice to be reached (default 95)"
    )


def run(args: argparse.Namespace) -> int:
    """Do what is not done yet, then print the tables and the path of the report."""
    question = _question(args)
    if not args.report:
        _measure(args)
    from bundle.benchmark.page import write_report
    from bundle.benchmark.results import write_groups, write_results

    out = args.out.absolute()
    question = dataclasses.replace(question, budgets=_budgets(args.budgets, out))
    page, tables = write_report(out, question)
    print("\n".join(tables))
    print(write_groups(out))
    print(write_results(out))
    print(page)
    return 0


def parse_choice(text: str) -> Choice:
    """A strategy from ``"ca"`` or ``"ca:k=20,within=random"``.

    Raises:
        ValueError: an unknown strategy or option, or a value that is not YAML.
    """
    from bundle.benchmark.protocol import Choice
    from bundle.commands.options import parse_options

    name, _, options = text.partition(":")
    return Choice.of(name, parse_options([pair for pair in options.split(",") if pair]))


def _question(args: argparse.Namespace) -> Question:
    """What the rows are asked, checked before hours of training."""
    from bundle.benchmark.page import Question

    if not args.report and (args.data is None or args.modality is None):
        raise ValueError("--data and --modality are needed, except with --report")
    family = {} if args.family is None else {"family": tuple(args.family)}
    return Question((), share=args.target / 100, selected=args.selected, **family)


def _budgets(texts: Sequence[str], out: Path) -> tuple[int, ...]:
    """Numbers of labels that the tables are of; a share is of the pool that most runs chose from."""
    from bundle.benchmark.ledger import Ledger
    from bundle.commands.options import parse_budget

    pools = Counter(row["settings"]["pool"]["images"] for row in Ledger(out).rows())
    pool = pools.most_common(1)[0][0] if pools else 0
    given = [text for text in texts if text != "all"] or BUDGETS
    return tuple(sorted({int(text) if text.isdecimal() else parse_budget(text, pool) for text in given}))


def _measure(args: argparse.Namespace) -> None:
    """Do the runs that are not done."""
    from bundle.benchmark.runner import Runner

    bench, runs = _prepare(args)
    failed = Runner(bench).work(runs)
    if len(failed) == len(runs):
        raise ValueError(f"not one of {len(runs)} runs can be made: {next(iter(failed.values()))}")
    if failed:
        print(f"{len(failed)} of {len(runs)} runs cannot be made: {next(iter(failed.values()))}", file=sys.stderr)


def _prepare(args: argparse.Namespace) -> tuple[Bench, Mapping[str, Run]]:
    """Decode the images, see to the weights, and plan."""
    from bundle.benchmark.cases import write_cases
    from bundle.benchmark.claims import Claims
    from bundle.benchmark.images import (
        COPIED_SHARE,
        COPIES,
        add_near_duplicates,
        decode_pool,
        decode_test,
        hold_back,
        images_fingerprint,
        labelled_pool,
    )
    from bundle.benchmark.protocol import CHANCE, Setting, plan
    from bundle.benchmark.runner import Bench, pretrained_weights
    from bundle.benchmark.training import training_recipe
    from bundle.commands.chain import list_public_set
    from bundle.commands.options import parse_budget
    from bundle.data.datalist import load_datalist
    from bundle.data.modality import load_modality
    from bundle.run.record import file_fingerprint
    from bundle.run.settings import parse_setting

    choices = [parse_choice(text) for text in args.strategies]
    modality = load_modality(args.modality)
    if args.size is not None:
        modality = dataclasses.replace(modality, size=args.size)
    knobs = dict(parse_setting(text) for text in args.set)
    recipe = training_recipe(modality, knobs)
    if args.steps < 1 or args.steps % recipe["epoch_length"]:
        raise ValueError(
            f"--steps must be a multiple of {recipe['epoch_length']}, the steps of an epoch, got {args.steps}"
        )
    if args.seeds < 1:
        raise ValueError(f"--seeds must be at least 1, got {args.seeds}")
    out = args.out.absolute()
    with Claims(out / "claims").wait("datalist"):
        listed = list_public_set(args.data.absolute(), out, modality=args.modality, as_dicom=args.as_dicom)
    datalist = labelled_pool(load_datalist(listed))
    if args.held_back is not None:
        datalist = hold_back(datalist, parse_budget(args.held_back, len(datalist.ids("pool")), option="--held-back"))
    data = images_fingerprint(datalist)
    pool, test = decode_pool(datalist, modality), decode_test(datalist, modality)
    write_cases(out, data, datalist, test, modality)
    chooses = any(choice.strategy != CHANCE for choice in choices)
    weights, seen_by = args.ssl_weights, args.embedding_weights
    seen = seen_by is not None or args.embeddings is not None
    if weights is None and (set(args.starts) != {"none"} or (chooses and not seen)):
        weights = pretrained_weights(out, datalist, modality, pool, data, steps=args.pretrain_steps)
    seen_by = seen_by or weights
    redundancy: dict[str, Any] = {"kind": args.pool}
    if args.pool == "redundant":
        datalist, pool = add_near_duplicates(datalist, pool)
        redundancy |= {"share": COPIED_SHARE, "copies": COPIES}
    images = len(datalist.ids("pool"))
    candidates = parse_budget(args.candidates, images, option="--candidates")
    if not 1 <= candidates <= images:
        raise ValueError(f"--candidates must be from 1 to the {images} images of the pool, got {candidates}")
    setting = Setting(
        modality=modality.name,
        data=data,
        size=modality.size,
        pool={**redundancy, "images": images, **({"candidates": candidates} if candidates < images else {})},
        pool_images=images,
        steps=args.steps,
        recipe=recipe,
        scoring=f"{args.scoring}, without specks" if modality.parts else args.scoring,  # first rows were with them
        start_weights=file_fingerprint(weights) if weights else None,
        embedding_weights=_seen_by(args.embeddings, seen_by),
        features=args.features if args.embeddings is None else GIVEN,
        control=args.control,
    )
    bench = Bench(
        out, datalist, modality, pool, test, setting, knobs, weights, seen_by, args.embeddings, args.scoring, args.hd95
    )
    budgets = [images if text == "all" else parse_budget(text, images) for text in args.budgets]
    return bench, plan(setting, seeds=range(args.seeds), budgets=budgets, starts=args.starts, choices=choices)


def _seen_by(embeddings: Path | None, weights: Path | None) -> str | None:
    """Fingerprint of what strategies see by."""
    from bundle.embedding import IDS_FILE, VECTORS_FILE, Embeddings
    from bundle.run.record import content_fingerprint, file_fingerprint

    if embeddings is not None:
        Embeddings.load(embeddings)  # refused here, before hours of training
        return content_fingerprint(file_fingerprint(embeddings / name) for name in (IDS_FILE, VECTORS_FILE))
    return None if weights is None else file_fingerprint(weights)
