"""``drill_kills``: kill every stage at random moments and see that the same command still ends the same."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

DESCRIPTION = """\
Kill every stage by SIGKILL at random moments on this machine and this file system, run the same command again each
time, and compare the result with an undisturbed one.

  20 moments a stage, about half an hour:
    coldstart drill_kills --out runs/drill

  on the network drive that the hospital wants to use, two stages:
    coldstart drill_kills --stages pretrain train --kills 5 --out /mnt/share/drill

OUT gets drill.csv (stage, kill, after_seconds, code, equal, differences) and run.json. It ends with code 1 where a
result differs. Drawn images alone are used.
"""

STAGES = (
    *("make_datalist", "pretrain", "embed", "select_samples", "train", "evaluate", "infer", "report"),
    *("score_uncertainty", "run_rounds"),
)
COLUMNS = ("stage", "kill", "after_seconds", "code", "equal", "differences")
IMAGES = 24


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--stages", nargs="+", choices=STAGES, default=list(STAGES), metavar="STAGE", help="default all"
    )
    parser.add_argument("--kills", type=int, default=20, metavar="N", help="moments a stage (default 20)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the moments (default 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace what an earlier drill wrote")


def run(args: argparse.Namespace) -> int:
    """Run the drill and print the path of its table."""
    from bundle.run.atomic import atomic_folder
    from bundle.run.record import RunRecord
    from bundle.run.table import write_csv

    if args.kills < 1:
        raise ValueError(f"--kills must be at least 1, got {args.kills}")
    record = RunRecord("drill_kills", vars(args), seed=args.seed)
    with atomic_folder(args.out, overwrite=args.overwrite, stage="drill_kills") as folder:
        rows = _drill(folder, args)
        write_csv(folder / "drill.csv", rows, COLUMNS)
        different = sum(not row["equal"] for row in rows)
        record.note("kills", len(rows))
        record.note("different", different)
        record.write(folder)
    print(f"{len(rows)} kills, {different} results that differ")
    print(args.out / "drill.csv")
    return 1 if different else 0


def _drill(folder: Path, args: argparse.Namespace) -> list[dict[str, object]]:
    import shutil
    import time

    from tqdm import tqdm

    from bundle.benchmark.drill import differences, result_of, run_apart
    from bundle.run.seeds import numpy_stream

    place = folder / "work"
    log = folder / "last.log"
    # In a process as well: the first one takes long to start, and no stage's time should hold that.
    demo = ["--out", str(place / "demo"), "--count", str(IMAGES), "--size", "64", "--seed", str(args.seed)]
    run_apart("make_demo", demo, log=log)
    rows: list[dict[str, object]] = []
    bar = tqdm(total=len(args.stages) * args.kills, unit="kill", disable=None)
    for stage in STAGES:  # also those that are not drilled: the next one needs what they make
        wanted_in = place / stage
        started = time.monotonic()
        if code := run_apart(stage, _arguments(stage, place, wanted_in), log=log):
            raise ValueError(f"{stage} ended undisturbed with code {code}: {log.read_text(encoding='utf-8')[-500:]}")
        lasts = time.monotonic() - started
        if stage not in args.stages:
            continue
        wanted = result_of(wanted_in)
        for kill, share in enumerate(numpy_stream(args.seed, "kills", stage).random(args.kills), start=1):
            out = place / "killed"
            died = run_apart(stage, _arguments(stage, place, out), log=log, kill_after=share * lasts)
            ended = run_apart(stage, _arguments(stage, place, out), log=log)
            if died == 0 and ended == 2 and "already there" in log.read_text(encoding="utf-8"):
                ended = 0  # it was done before the kill came
            told = differences(wanted, result_of(out)) if out.exists() else ["nothing is there"]
            told += [f"{path.name} is left over" for path in place.glob(".*")]
            if ended:
                told.insert(0, f"the second run ended with code {ended}")
            rows.append(
                {
                    "stage": stage,
                    "kill": kill,
                    "after_seconds": round(share * lasts, 3),
                    "code": died,
                    "equal": not told,
                    "differences": "; ".join(told),
                }
            )
            shutil.rmtree(out, ignore_errors=True)
            bar.update()
    bar.close()
    shutil.rmtree(place)
    log.unlink()
    return rows


def _arguments(stage: str, place: Path, out: Path) -> list[str]:
    """The stage's command line, small enough to be done in seconds."""
    datalist = ["--datalist", str(place / "make_datalist" / "datalist.json")]
    ssl = str(place / "pretrain" / "model_ssl_pretrained.pt")
    model = ["--model", str(place / "train" / "model.pt")]
    images = ["--images", str(place / "demo" / "images"), "--modality", "dermoscopy"]
    knobs = {"epochs": 3, "batch_size": 4}
    cold = ["--initial-selection", str(place / "select_samples"), "--ssl-weights", ssl]
    rounds = ["--oracle", "simulated", "--rounds", "2", "--per-round", "3", "--weak-from", "1", "--weak-per-round", "2"]
    options = {
        "make_datalist": [*images, "--masks", str(place / "demo" / "masks"), "--test-fraction", "0.2"],
        "pretrain": [*datalist, *_set(knobs | {"warmup": 0.3})],
        "embed": [*datalist, "--weights", ssl],
        "select_samples": [*datalist, "--embeddings", str(place / "embed"), "--budget", "6"],
        "train": [*datalist, "--ssl-weights", ssl, *_set(knobs | {"epoch_length": 3, "val_interval": 1})],
        "evaluate": [*datalist, *model],
        "infer": [*images, *model],
        "report": ["--run", str(place / "train")],
        "score_uncertainty": [*datalist, *model, "--criterion", "entropy"],
        "run_rounds": [*datalist, *cold, *rounds, "--weak-agreement", "0", "--steps", "40", *_set({"batch_size": 2})],
    }[stage]
    target = {"make_datalist": out / "datalist.json", "report": out / "report.html"}.get(stage, out)
    return [*options, "--out", str(target)]


def _set(knobs: Mapping[str, object]) -> list[str]:
    return [word for name, value in knobs.items() for word in ("--set", f"{name}={value}")]
