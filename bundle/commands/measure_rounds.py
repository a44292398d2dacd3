"""``measure_rounds``: what rounds give over random rounds, and over spending all labels at once."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle.benchmark.claims import PATIENCE, Claims
from bundle.benchmark.rounds import ONE_SHOT, compare, final_scores, groups_table, scores_by_group, table
from bundle.commands.chain import exclude_others, labelled_candidates, list_public_set, run_stage
from bundle.commands.options import parse_budget, require_least
from bundle.run.atomic import write_json
from bundle.run.table import read_csv, write_csv

DESCRIPTION = """\
Compare ways to spend one sum of labels on a labelled public set: a cold start and rounds by each recipe, random rounds,
and one selection of the whole sum by coldstart. Every recipe has the same seeds, steps and cold start.

  dermoscopy, 40 labels and 5 rounds of 20, by disagreement with and without pseudo labels, and by entropy:
    coldstart measure_rounds --data dermoscopy --modality dermoscopy --initial 40 --rounds 5 --per-round 20 \\
        --recipes dsal dsal:weak_from=1 entropy:diversity=coverage random --out measured/rounds_dermoscopy

  the same where every seed has its own half of the pool, which tells how good the strategies are and not one selection:
    coldstart measure_rounds --data dermoscopy --modality dermoscopy --candidates 50% --out measured/rounds_halves

  chest X-rays, which saturate early:
    coldstart measure_rounds --data chest_xray --modality chest_xray --initial 5 --rounds 5 --per-round 3 --as-dicom \\
        --recipes dsal dsal:weak_from=1 random --out measured/rounds_chest

--data is a folder with images/, masks/ and split.csv (columns id, split). A recipe is a criterion or a strategy of
run_rounds, with options of run_rounds behind a colon. OUT gets every run, rounds.csv (a row a round of every run),
summary.json and groups.csv (Dice by site, skin tone and image size). Killed at any moment, the same command goes on,
and more recipes or seeds add to what is there. Started several times on one machine, it divides the work: one process
a core, with OMP_NUM_THREADS=1, wastes least. The test images are scored after every round and choose nothing.
"""

COLD_START = "coldstart"
OPTIONS = (
    "diversity",
    "members",
    "passes",
    "restart",
    "teach_from",
    "weak_agreement",
    "weak_from",
    "weak_per_round",
    "weak_weight",
)
COUNTS = ("round", "labels", "queried", "pseudo_labels", "n")
GROUP_COLUMNS = ("kind", "group", "images", "recipe", "seeds", "dice", "sd")
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
        "--candidates",
        default="100%",
        metavar="SHARE",
        help="each seed chooses from its own random share of the pool, such as 50%% (default 100%%)",
    )
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
    from bundle.run.claim import claim_folder

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
    asked = [row for row in rows if row["recipe"] in set(map(str, recipes))]  # others are there, and in no family
    found = compare(final_scores(asked, labels=args.initial + args.rounds * args.per_round))
    write_json(args.out / "summary.json", found)
    print("\n".join(table(found)))
    groups = scores_by_group(bench.final_dice(rows), bench.groups())
    if groups:
        write_csv(args.out / "groups.csv", groups, GROUP_COLUMNS)
        print("\n".join(["", *groups_table(groups)]))
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
        wanted = args.initial + args.rounds * args.per_round
        self.labelled = labelled_candidates(self.datalist, wanted=wanted)
        self.candidates = parse_budget(args.candidates, len(self.labelled), option="--candidates")
        if not wanted <= self.candidates <= len(self.labelled):
            raise ValueError(
                f"--candidates must be from the {wanted} labels asked for to the {len(self.labelled)} images with a "
                f"mask, got {self.candidates}"
            )
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
        exclude = self._excluded(seed)
        labels = args.initial + args.rounds * args.per_round if one_shot else args.initial
        start = self._cold_start(labels, seed, exclude)
        folder = self.out / "runs" / rows.stem
        run_stage(
            "run_rounds",
            done=rows,
            out=folder,
            datalist=self.datalist,
            initial_selection=start,
            exclude=exclude,
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

    def final_dice(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[int, dict[str, float]]]:
        """Recipe to seed to id to the Dice of the last model, as its evaluation wrote it.

        Args:
            rows: of all finished runs; one whose folder was removed since is left out.
        """
        found: dict[str, dict[int, dict[str, float]]] = {}
        last = {(row["recipe"], row["seed"]): row["round"] for row in rows}  # a run's rows are in order of the rounds
        for (name, seed), number in last.items():
            run = self.out / "runs" / self._rows_file(Recipe.parse(name), seed).stem
            table_file = run / "rounds" / str(number) / "evaluation" / "per_image.csv"
            if table_file.is_file():
                dice = {row["id"]: float(row["dice"]) for row in read_csv(table_file)}
                found.setdefault(name, {})[seed] = dice
        return found

    def groups(self) -> dict[str, dict[str, list[str]]]:
        """Kind of group to its groups to the ids of their test images, see :mod:`bundle.benchmark.cases`."""
        from bundle.benchmark.cases import has_cases, read_groups, write_cases
        from bundle.benchmark.images import decode_test, labelled_pool
        from bundle.data.datalist import load_datalist

        datalist = labelled_pool(load_datalist(self.datalist))
        data = datalist.fingerprint()
        with self.claims.wait("cases"):
            if not has_cases(self.out, data, datalist.modality.size):
                write_cases(self.out, data, datalist, decode_test(datalist, datalist.modality), datalist.modality)
        return read_groups(self.out, data, datalist.modality.size)

    def _rows_file(self, recipe: Recipe, seed: int) -> Path:
        from bundle.data.handover import safe_name

        return self.out / "rows" / f"{safe_name(str(recipe))}_seed{seed}.json"

    def rows(self) -> list[dict[str, Any]]:
        """A row for every round of every finished run, with the keys of ``COLUMNS``."""
        files = sorted((self.out / "rows").glob("[!.]*.json"))  # a hidden one is being written
        found = [row for file in files for row in json.loads(file.read_text(encoding="utf-8"))]
        return [{name: row[name] for name in COLUMNS} for row in found]

    def _excluded(self, seed: int) -> Path | None:
        """The list of what a seed may not choose: images without a mask, and those outside of its share."""
        from bundle.benchmark.candidates import draw_candidates

        path = self.out / "excluded" / f"{self._share(seed)}.txt"
        path.parent.mkdir(exist_ok=True)
        return exclude_others(self.datalist, draw_candidates(self.labelled, self.candidates, seed=seed), path)

    def _cold_start(self, labels: int, seed: int, exclude: Path | None) -> Path:
        folder = self.out / f"{COLD_START}_{labels}_{self._share(seed)}"
        with self.claims.wait(folder.name):
            run_stage(
                "select_samples",
                done=folder,
                out=folder,
                datalist=self.datalist,
                embeddings=self.embeddings,
                strategy=COLD_START,
                budget=labels,
                exclude=exclude,
            )
        return folder

    def _share(self, seed: int) -> str:
        """The name of the part of the pool that a seed chooses from."""
        return "pool" if self.candidates == len(self.labelled) else f"share{seed}"


def _read(path: Path) -> list[dict[str, Any]]:
    """The rows of a rounds.csv, figures as numbers and empty cells as None."""
    return [
        {k: None if not v else int(v) if k in COUNTS else v if k == "section" else float(v) for k, v in row.items()}
        for row in read_csv(path)
    ]
