"""``measure_rounds``: what rounds give over random rounds, and over spending all labels at once."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle.benchmark.claims import PATIENCE, Claims
from bundle.commands.chain import list_public_set, run_stage
from bundle.commands.options import require_least
from bundle.run.atomic import write_csv, write_json

DESCRIPTION = """\
Compare ways to spend one sum of labels on a labelled public set: a cold start and rounds by each recipe, random rounds,
and one selection of the whole sum by coldstart. Every recipe has the same seeds, steps and cold start.

  dermoscopy, 40 labels and 5 rounds of 20, by disagreement with and without pseudo labels, and by entropy:
    coldstart measure_rounds --data dermoscopy --modality dermoscopy --initial 40 --rounds 5 --per-round 20 \\
        --recipes dsal dsal:weak_from=1 entropy:diversity=coverage random --out measured/rounds_dermoscopy

  chest X-rays, which saturate early:
    coldstart measure_rounds --data chest_xray --modality chest_xray --initial 5 --rounds 5 --per-round 3 --as-dicom \\
        --recipes dsal dsal:weak_from=1 random --out measured/rounds_chest

--data is a folder with images/, masks/ and split.csv (columns id, split). A recipe is a criterion or a strategy of
run_rounds, with options of run_rounds behind a colon. OUT gets every run, rounds.csv (a row a round of every run) and
summary.json; killed at any moment, the same command goes on, and more recipes or seeds add to what is there. Started
several times on one machine, it divides the work: one process a core, with OMP_NUM_THREADS=1, wastes least. The test
images are scored after every round and choose nothing.
"""

ONE_SHOT = "one-shot"  # the whole sum at once, by the strategy of the cold start
COLD_START = "coldstart"
OPTIONS = (
    "diversity",
    "members",
    "passes",
    "restart",
    "weak_agreement",
    "weak_from",
    "weak_per_round",
    "weak_weight",
)
COUNTS = ("round", "labels", "queried", "pseudo_labels", "n")
COLUMNS = ("modality", "recipe", "seed", "steps", *COUNTS, "dice", "pseudo_dice")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="with images/, masks/ and split.csv")
    parser.add_argument("--modality", required=True, metavar="M", help="dermoscopy, chest_xray or your own YAML file")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the runs and rounds.csv")
    parser.add_argument(
        "--recipes",
        nargs="+",
        default=["dsal", "dsal:weak_from=1", "random"],
        metavar="R",
        help="such as dsal or bald:diversity=coverage,weak_from=2 (default dsal dsal:weak_from=1 random)",
    )
    parser.add_argument("--initial", type=int, default=40, metavar="N", help="labels of the cold start (default 40)")
    parser.add_argument("--rounds", type=int, default=5, metavar="R", help="rounds after it (default 5)")
    parser.add_argument("--per-round", type=int, default=20, metavar="B", help="labels of a round (default 20)")
    parser.add_argument("--seeds", type=int, default=8, metavar="N", help="seeds 0 to N-1 (default 8)")
    parser.add_argument("--steps", type=int, default=400, metavar="N", help="steps of every training (default 400)")
    parser.add_argument(
        "--ssl-weights",
        type=Path,
        metavar="FILE",
        help="self-supervised weights; default: pretrained on the pool first",
    )
    parser.add_argument("--as-dicom", action="store_true", help="wrap the pictures into CR DICOM objects first")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="any knob of train.yaml")
    parser.add_argument("--overwrite", action="store_true", help="replace what another comparison left in OUT")


def run(args: argparse.Namespace) -> int:
    """Do what is not done yet, print the comparison, then the path of rounds.csv."""
    from bundle.benchmark.statistics import LARGEST_FAMILY
    from bundle.run.workflow import claim_folder

    recipes = [Recipe.parse(text) for text in dict.fromkeys([*args.recipes, ONE_SHOT])]
    if len(recipes) - 1 > LARGEST_FAMILY:
        raise ValueError(f"--recipes must be at most {LARGEST_FAMILY}, or tests find nothing; got {len(recipes) - 1}")
    require_least(args, initial=1, rounds=1, per_round=1, seeds=1)
    request = {
        name: value for name, value in vars(args).items() if name not in ("out", "overwrite", "recipes", "seeds")
    }
    claim_folder(args.out, {"stage": "measure_rounds", **request}, overwrite=args.overwrite)
    bench = _Bench(args)
    # All recipes of a seed before the next seed: what is done is paired.
    runs = [(recipe, seed) for seed in range(args.seeds) for recipe in recipes]
    while left := [run for run in runs if not bench.is_done(*run)]:
        if not any(bench.measure(*run) for run in left):
            time.sleep(PATIENCE)  # another process is at each of them
    rows = bench.rows()
    write_csv(args.out / "rounds.csv", rows, COLUMNS)
    final = final_scores(rows, labels=args.initial + args.rounds * args.per_round)
    found = compare(final)
    write_json(args.out / "summary.json", found)
    print("\n".join(table(found)))
    print(args.out / "rounds.csv")
    return 0


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A way to spend the labels.

    Attributes:
        strategy: a criterion or a strategy; ``one-shot`` for one selection of the whole sum.
        options: of ``run_rounds``, by name.
    """

    strategy: str
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Recipe:
        """``"dsal"`` or ``"bald:diversity=coverage,weak_from=2"``.

        Raises:
            ValueError: an unknown strategy, or what is no option of a recipe.
        """
        from bundle.selection import available_criteria, find_strategy

        name, _, given = text.partition(":")
        if name != ONE_SHOT and name not in available_criteria():
            find_strategy(name)
        options = {}
        for pair in filter(None, given.split(",")):
            key, _, value = pair.partition("=")
            if key not in OPTIONS or not value:
                raise ValueError(
                    f"recipe {text!r}: an option is NAME=VALUE with one of {', '.join(OPTIONS)}, got {pair!r}"
                )
            options[key] = value
        return cls(name, tuple(sorted(options.items())))

    def __str__(self) -> str:
        return self.strategy + "".join(f"{',' if i else ':'}{k}={v}" for i, (k, v) in enumerate(self.options))


class _Bench:
    """The data, the cold starts, and every run, each made where it is not there."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.out = args, args.out.absolute()
        self.claims = Claims(self.out / "claims")
        with self.claims.wait("start"):
            self._begin()

    def _begin(self) -> None:
        """Datalist, weights and embeddings, where they are not there."""
        args = self.args
        self.datalist = list_public_set(args.data.absolute(), self.out, modality=args.modality, as_dicom=args.as_dicom)
        self.weights = args.ssl_weights and args.ssl_weights.absolute()
        if self.weights is None:
            folder = self.out / "pretrain"
            run_stage("pretrain", done=folder / "run.json", out=folder, datalist=self.datalist)
            self.weights = folder / "model_ssl_pretrained.pt"
        self.embeddings = self.out / "embeddings"
        run_stage("embed", done=self.embeddings, out=self.embeddings, datalist=self.datalist, weights=self.weights)

    def is_done(self, recipe: Recipe, seed: int) -> bool:
        """Whether the rows of a run are there."""
        return self._rows_file(recipe, seed).is_file()

    def measure(self, recipe: Recipe, seed: int) -> bool:
        """One run of a recipe, and its rows; False, and nothing, where another process is at it."""
        with self.claims.hold(self._rows_file(recipe, seed).stem) as mine:
            if mine and not self.is_done(recipe, seed):
                self._measure(recipe, seed)
            return mine

    def _measure(self, recipe: Recipe, seed: int) -> None:
        args, rows = self.args, self._rows_file(recipe, seed)
        one_shot = recipe.strategy == ONE_SHOT
        start = self._cold_start(args.initial + args.rounds * args.per_round if one_shot else args.initial)
        folder = self.out / "runs" / rows.stem
        run_stage(
            "run_rounds",
            done=rows,
            out=folder,
            datalist=self.datalist,
            initial_selection=start,
            strategy="random" if one_shot else recipe.strategy,
            oracle="simulated",
            rounds=0 if one_shot else args.rounds,
            per_round=args.per_round,
            ssl_weights=self.weights,
            embeddings=self.embeddings,
            steps=args.steps,
            seed=seed,
            set=args.set,
            **dict(recipe.options),
        )
        about = {"modality": Path(args.modality).stem, "recipe": str(recipe), "seed": seed, "steps": args.steps}
        write_json(rows, [{**about, **row} for row in _read(folder / "rounds.csv")])

    def _rows_file(self, recipe: Recipe, seed: int) -> Path:
        from bundle.data.handover import safe_name

        return self.out / "rows" / f"{safe_name(str(recipe))}_seed{seed}.json"

    def rows(self) -> list[dict[str, Any]]:
        """A row for every round of every finished run, with the keys of ``COLUMNS``."""
        files = sorted((self.out / "rows").glob("*.json"))
        found = [row for file in files for row in json.loads(file.read_text(encoding="utf-8"))]
        return [{name: row[name] for name in COLUMNS} for row in found]

    def _cold_start(self, labels: int) -> Path:
        folder = self.out / f"{COLD_START}_{labels}"
        with self.claims.wait(folder.name):
            run_stage(
                "select_samples",
                done=folder,
                out=folder,
                datalist=self.datalist,
                embeddings=self.embeddings,
                strategy=COLD_START,
                budget=labels,
            )
        return folder


def final_scores(rows: Sequence[Mapping[str, Any]], *, labels: int) -> dict[str, dict[int, float]]:
    """Recipe to seed to the Dice of the model that has learned from all ``labels``."""
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        if row["labels"] == labels:
            found.setdefault(row["recipe"], {})[row["seed"]] = row["dice"]
    return found


def compare(final: Mapping[str, Mapping[int, float]]) -> dict[str, Any]:
    """Every recipe against one-shot and against random rounds, seed by seed.

    Returns:
        ``means`` (recipe to ``n``, ``mean`` and ``sd`` over the seeds) and ``comparisons``: ``recipe``, ``against``,
        ``n``, ``mean`` and ``sd`` of the paired difference, ``wins``, ``losses``, the two-sided ``p`` of Wilcoxon's
        signed-rank test and ``p_holm``, corrected for all comparisons with the same.
    """
    from bundle.benchmark.paired import paired_difference
    from bundle.benchmark.statistics import holm, signed_rank_p

    means = {
        name: {"n": len(s), "mean": statistics.fmean(s.values()), "sd": _spread(list(s.values()))}
        for name, s in final.items()
    }
    comparisons: list[dict[str, Any]] = []
    for against in (ONE_SHOT, "random"):
        family: list[dict[str, Any]] = []
        for name in final:
            if name in (against, ONE_SHOT) or against not in final or not final[name].keys() & final[against].keys():
                continue
            gain = paired_difference(final[name], final[against])
            shared = sorted(final[name].keys() & final[against].keys())
            family.append(
                {
                    "recipe": name,
                    "against": against,
                    "n": gain.n,
                    "mean": gain.mean,
                    "sd": gain.spread,
                    "wins": gain.wins,
                    "losses": gain.losses,
                    "p": signed_rank_p([final[name][seed] - final[against][seed] for seed in shared]),
                }
            )
        corrected = holm([row["p"] for row in family])
        comparisons += [{**row, "p_holm": p} for row, p in zip(family, corrected, strict=True)]
    return {"means": means, "comparisons": comparisons}


def table(found: Mapping[str, Any]) -> list[str]:
    """Markdown: the Dice of every recipe, and what it gives over the others in points."""
    lines = ["| recipe | seeds | Dice | sd |", "|---|---|---|---|"]
    lines += [f"| {name} | {m['n']} | {m['mean']:.4f} | {m['sd']:.4f} |" for name, m in found["means"].items()]
    lines += ["", "| recipe | against | points | sd | up | down | p | p (Holm) |", "|---|---|---|---|---|---|---|---|"]
    for row in found["comparisons"]:
        figures = f"{100 * row['mean']:+.2f} | {100 * row['sd']:.2f} | {row['wins']} | {row['losses']}"
        chances = " | ".join(f"{row[name]:.4f}" for name in ("p", "p_holm"))
        lines.append(f"| {row['recipe']} | {row['against']} | {figures} | {chances} |")
    return lines


def _spread(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _read(path: Path) -> list[dict[str, Any]]:
    """The rows of a rounds.csv, figures as numbers and empty cells as None."""
    with path.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    return [
        {k: None if not v else int(v) if k in COUNTS else v if k == "section" else float(v) for k, v in row.items()}
        for row in rows
    ]
