"""``measure_main_job``: the first two tables of docs/results.md, made again from public data."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from bundle.commands.chain import exclude_others, labelled_candidates, list_public_set, run_stage
from bundle.run.table import write_csv

DESCRIPTION = """\
Run the main job on a labelled public set and tell what the warm start gives: all labels once, few random labels with
several seeds, each from self-supervised and from random weights at equal steps, scored on the test images of split.csv.
With few labels also what self-training gives, a second training of as many steps that the warm one teaches.

  coldstart measure_main_job --data dermoscopy --modality dermoscopy --few 40 --out measured/dermoscopy
  coldstart measure_main_job --data chest_xray --modality chest_xray --few 5 --steps 1600 --as-dicom \\
      --out measured/chest_xray

--data is a folder with images/, masks/ and split.csv (columns id, split). OUT gets every run, results.csv, and in
weights/ the weights that the bundle ships, in half precision; killed at any moment, the same command goes on. Nothing
looks at the test images before they are scored.
"""

STARTS = {"warm": "all", "random weights": "none"}  # and how train's warm_start calls them
TAUGHT = "self-trained"  # from self-supervised weights as well, taught by the model of the warm start
COLUMNS = ("modality", "labels", "seed", "start", "steps", "dice", "jaccard", "hd95", "n_test", "train_seconds")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--data", required=True, help="folder with images/, masks/ and split.csv")
    parser.add_argument("--modality", required=True, help="dermoscopy, chest_xray or your own YAML file")
    parser.add_argument("--out", required=True, help="folder for the runs and results.csv")
    parser.add_argument("--few", type=int, default=40, help="labels of the runs with few labels (default 40)")
    parser.add_argument("--few-steps", type=int, default=400, help="steps of the runs with few labels (default 400)")
    parser.add_argument("--steps", type=int, default=800, help="steps of the runs with all labels (default 800)")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of the runs with few labels (default 5)")
    parser.add_argument("--as-dicom", action="store_true", help="wrap the pictures into CR DICOM objects first")
    parser.add_argument("--overwrite", action="store_true", help="replace what another request left in OUT")


def run(args: argparse.Namespace) -> int:
    """Do what is not done yet, print the table, then the path of results.csv."""
    from bundle.run.claim import claim_folder

    out, data = Path(args.out).absolute(), Path(args.data).absolute()
    request = {name: value for name, value in vars(args).items() if name not in ("out", "overwrite", "seeds")}
    claim_folder(out, {"stage": "measure_main_job", **request, "data": str(data)}, overwrite=args.overwrite)
    datalist = list_public_set(data, out, modality=args.modality, as_dicom=args.as_dicom)
    candidates = labelled_candidates(datalist, wanted=args.few)
    exclude = exclude_others(datalist, candidates, out / "unlabelled.txt")
    pretrained = out / "pretrain" / "model_ssl_pretrained.pt"
    run_stage("pretrain", done=out / "pretrain" / "run.json", out=out / "pretrain", datalist=datalist)
    embeddings, selection = out / "embeddings", out / "selection"
    run_stage("embed", done=embeddings, out=embeddings, datalist=datalist, weights=pretrained)
    chosen: dict[str, Any] = {"datalist": datalist, "embeddings": embeddings, "exclude": exclude}
    run_stage("select_samples", done=selection, out=selection, strategy="ca", budget="10%", seed=0, **chosen)
    rows = []
    for start in STARTS:
        rows.append(_trained(out, _folder("full", start), datalist, pretrained, start, 0, args.steps))
    for seed in range(args.seeds):
        drawn = out / f"random_{args.few}_seed{seed}"
        run_stage("select_samples", done=drawn, out=drawn, strategy="random", budget=args.few, seed=seed, **chosen)
        for start in (*STARTS, TAUGHT):
            name = _folder(f"few_seed{seed}", start)
            teacher = out / _folder(f"few_seed{seed}", "warm") / "model.pt" if start == TAUGHT else None
            rows.append(_trained(out, name, drawn / "selection.json", pretrained, start, seed, args.few_steps, teacher))
    for row in rows:
        row["modality"] = Path(args.modality).stem
    write_csv(out / "results.csv", rows, COLUMNS)
    from bundle.weights import halve_weights

    halve_weights(out / _folder("full", "warm") / "model.pt", out / "weights" / "model.pt")
    halve_weights(pretrained, out / "weights" / "model_ssl_pretrained.pt")
    print("\n".join(_table(rows)))
    print(out / "results.csv")
    return 0


def _folder(labels: str, start: str) -> str:
    return f"{labels}_{start.replace(' ', '_').replace('-', '_')}"


def _trained(
    out: Path,
    name: str,
    datalist: Path,
    pretrained: Path,
    start: str,
    seed: int,
    steps: int,
    teacher: Path | None = None,
) -> dict[str, Any]:
    """Train and score one run; its row of results.csv."""
    folder = out / name
    model = folder / "model.pt"
    scope: dict[str, Any] = {"warm_start": STARTS.get(start, "all"), "ssl_weights": pretrained, "teacher": teacher}
    run_stage("train", done=folder / "run.json", out=folder, datalist=datalist, steps=steps, seed=seed, **scope)
    scores = folder / "evaluation"
    run_stage("evaluate", done=scores / "run.json", out=scores, datalist=datalist, model=model, seed=seed)
    summary = json.loads((scores / "summary.json").read_text(encoding="utf-8"))
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    labels = sum("label" in entry for entry in json.loads(datalist.read_text(encoding="utf-8"))["training"])
    return {
        "labels": labels,
        "seed": seed,
        "start": start,
        "steps": steps,
        "n_test": summary["n"],
        "train_seconds": record["seconds"],
        **{name: summary[name]["mean"] for name in ("dice", "jaccard", "hd95")},
    }


def _table(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown: Dice of every way at each number of labels, and paired differences to the warm start in points."""
    from bundle.benchmark.paired import paired_difference

    lines = [
        f"| labels | steps | warm | random weights | {TAUGHT} | warm minus random weights | {TAUGHT} minus warm |",
        "|---|---|---|---|---|---|---|",
    ]
    for labels, steps in sorted({(row["labels"], row["steps"]) for row in rows}, reverse=True):
        scores: dict[str, dict[int, float]] = {start: {} for start in (*STARTS, TAUGHT)}
        for row in rows:
            if (row["labels"], row["steps"]) == (labels, steps):
                scores[row["start"]][row["seed"]] = row["dice"]
        cells = [f"{sum(s.values()) / len(s):.4f}" if s else "" for s in scores.values()]
        for first, second in (("warm", "random weights"), (TAUGHT, "warm")):
            if scores[first]:
                gain = paired_difference(scores[first], scores[second])
                spread = "" if gain.spread is None else f" ± {100 * gain.spread:.1f}"
                cells.append(f"{100 * gain.mean:+.1f}{spread} (n = {gain.n}, {gain.wins} up, {gain.losses} down)")
            else:
                cells.append("")
        lines.append(f"| {labels} | {steps} | {' | '.join(cells)} |")
    return lines
