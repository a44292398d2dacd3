"""The runs of a label-efficiency benchmark, one after the other: choose, train, score, keep."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bundle.benchmark.candidates import draw_candidates
from bundle.benchmark.claims import PATIENCE, Claims
from bundle.benchmark.images import Canvases, TestImages
from bundle.benchmark.ledger import Ledger, run_key
from bundle.benchmark.memory import PeakMemory
from bundle.benchmark.protocol import CHANCE, TAUGHT, Choice, Run, Setting
from bundle.benchmark.results import FILE_NAME, write_results
from bundle.benchmark.scoring import score
from bundle.benchmark.training import train
from bundle.data.datalist import Datalist
from bundle.data.modality import Modality
from bundle.embedding import Embeddings
from bundle.numerics import choose_device
from bundle.report.blocks import duration
from bundle.run.record import hardware, versions
from bundle.run.seeds import numpy_stream
from bundle.run.workflow import run_workflow
from bundle.selection import Selection, select
from bundle.weights import load_weights

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class Bench:
    """What runs are made of.

    Attributes:
        folder: of the benchmark; several processes may work in it at once.
        datalist: pool and test.
        modality: at the size of the benchmark.
        pool: the images to learn from.
        test: the images to score on.
        setting: what all runs share.
        knobs: of ``configs/train.yaml`` that differ from it.
        start_weights: what a warm start copies; needed by runs with one.
        embedding_weights: what describes the images; needed by strategies that look at them,
        embeddings: unless they are given, in this folder.
        precision: to score in.
        hd95: whether to score the distance as well.
    """

    folder: Path
    datalist: Datalist
    modality: Modality
    pool: Canvases
    test: TestImages
    setting: Setting
    knobs: Mapping[str, Any]
    start_weights: Path | None
    embedding_weights: Path | None
    embeddings: Path | None = None
    precision: str = "fp32"
    hd95: bool = False


class Runner:
    """Does what is not done yet, together with whoever else works in the same folder."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.ledger = Ledger(bench.folder)
        self.claims = Claims(bench.folder / "claims")
        self._selections: dict[tuple[Choice, int, int], tuple[Selection, float, float | None]] = {}
        self._embeddings: Embeddings | None = None
        self._models = tempfile.TemporaryDirectory(prefix="coldstart-benchmark-")  # gone when the runner is
        self._model_of: dict[str, Run] = {}  # whose weights lie in the file of a start

    def work(self, runs: Mapping[str, Run]) -> dict[str, str]:
        """Do all runs that nobody has done, the first of the plan first.

        Returns:
            Key of each run that cannot be made, and why; nothing is kept of it, and the others go on.
        """
        failed: dict[str, str] = {}
        begun, before = time.monotonic(), sum(map(self._done, runs))
        while left := [key for key in runs if key not in failed and not self._done(key)]:
            for key in left:
                with self.claims.hold(key) as mine:
                    if not mine or self._done(key):
                        continue
                    try:
                        told = self._do(runs[key])
                    except (ValueError, ArithmeticError) as error:
                        failed[key] = str(error)
                        logger.warning("%s: cannot be made: %s", runs[key], error)
                        break
                done = sum(map(self._done, runs))
                pace = (time.monotonic() - begun) / max(1, done - before)
                missing = len(runs) - done - len(failed)
                logger.info("%d/%d  %s: %s; %s left", done, len(runs), runs[key], told, duration(pace * missing))
                with self.claims.hold(FILE_NAME) as mine:
                    if mine:  # else another one writes the same table at this moment
                        write_results(self.bench.folder)
                break  # look again from the first: a claim may have died meanwhile
            else:
                time.sleep(PATIENCE)
        return failed

    def select(self, choice: Choice, labels: int, seed: int) -> tuple[Selection, float, float | None]:
        """The images that a choice takes, its seconds and the GiB of memory it added."""
        cell = (choice, labels, seed)
        if cell not in self._selections:
            embeddings = self._vectors(choice, seed)
            started = time.perf_counter()
            with PeakMemory() as memory:
                found = select(embeddings, strategy=choice.strategy, budget=labels, seed=seed, **choice.resolved)
            self._selections[cell] = found, time.perf_counter() - started, memory.added
        return self._selections[cell]

    def _done(self, key: str) -> bool:
        return key in self.ledger and (not self.bench.hd95 or self.ledger.row(key)["results"]["hd95"] is not None)

    def _do(self, run: Run) -> str:
        """Do one run, keep it, and tell it in a few words."""
        bench = self.bench
        results: dict[str, Any] = {"selection_seconds": None, "selection_gib": None, "selected": None}
        ids = bench.datalist.ids("pool")
        if run.choice is not None:
            selection, seconds, gib = self.select(run.choice, run.labels, run.seed)
            ids = list(selection.ids)
            results = {"selection_seconds": round(seconds, 3), "selection_gib": gib and round(gib, 4), "selected": ids}
        started = time.perf_counter()
        weights = load_weights(self._trained(run, ids))
        trained = time.perf_counter()
        device = torch.device(bench.knobs.get("device") or choose_device())
        scores = score(
            weights, bench.test, modality=bench.modality, device=device, precision=bench.precision, hd95=bench.hd95
        )
        ended = time.perf_counter()
        results = {
            "dice": round(float(scores.dice.mean(dtype=np.float64)), 6),
            "jaccard": round(float(scores.jaccard.mean(dtype=np.float64)), 6),
            "hd95": round(float(scores.hd95.mean(dtype=np.float64)), 4) if bench.hd95 else None,
            "ece": round(scores.calibration_error(), 6),
            "test_images": len(scores.ids),
            "train_seconds": round(trained - started, 2),
            "score_seconds": round(ended - trained, 2),
            **results,
        }
        finished = datetime.now(timezone.utc).isoformat(timespec="seconds")
        about = {"finished": finished, "versions": versions(), "hardware": hardware()}
        self.ledger.add(run.settings(bench.setting), results, scores, about)
        return f"Dice {results['dice']:.4f} in {duration(ended - started)}"

    def _trained(self, run: Run, ids: Sequence[str]) -> Path:
        """The file of a run's weights. It stays for the next run, whose teacher it may be."""
        path = Path(self._models.name) / f"{run.start}.pt"
        if self._model_of.get(run.start) == run:
            return path
        taught = run.start == TAUGHT
        train(
            self.bench.datalist.with_training(ids),
            self.bench.pool,
            path,
            modality=self.bench.modality,
            start="all" if taught else run.start,
            ssl_weights=None if run.start == "none" else self.bench.start_weights,
            teacher=self._trained(dataclasses.replace(run, start="all"), ids) if taught else None,
            seed=run.seed,
            steps=self.bench.setting.steps,
            knobs=self.bench.knobs,
        )
        self._model_of[run.start] = run
        return path

    def _vectors(self, choice: Choice, seed: int) -> Embeddings:
        """What a choice looks at; under the control ``shuffle`` each id has the vector of another, drawn by seed."""
        ids = self._candidates(seed)
        if choice.strategy == CHANCE:
            return Embeddings(ids, np.zeros((len(ids), 1), dtype=np.float32))
        if self._embeddings is None:
            folder = self.bench.embeddings or self._embed()
            self._embeddings = Embeddings.load(folder).subset(self.bench.datalist.ids("pool"))
        found = self._embeddings.subset(ids)
        if self.bench.setting.control == "none":
            return found
        order = numpy_stream(seed, "benchmark", "shuffle").permutation(len(ids))
        return Embeddings(ids, found.vectors[order])

    def _candidates(self, seed: int) -> tuple[str, ...]:
        """What may be chosen: the pool, or the part of it that belongs to the seed."""
        ids = self.bench.datalist.ids("pool")
        return draw_candidates(ids, self.bench.setting.pool.get("candidates", len(ids)), seed=seed)

    def _embed(self) -> Path:
        """The folder of the pool's embeddings, made where it is not there."""
        bench, setting = self.bench, self.bench.setting
        facts = {
            "data": setting.data,
            "pool": dict(setting.pool),
            "size": setting.size,
            "weights": setting.embedding_weights,
            "features": setting.features,
        }
        folder = bench.folder / "embeddings" / run_key(facts)
        with self.claims.wait(f"embeddings-{folder.name}"):
            if not folder.exists():
                assert bench.embedding_weights is not None
                run_workflow(
                    "embed",
                    {
                        "spec": bench.modality,
                        "datalist": bench.datalist,
                        "weights": bench.embedding_weights,
                        "features": setting.features,
                        "preprocessing": bench.pool,
                        "output_dir": folder,
                    },
                )
        return folder


def pretrained_weights(
    folder: Path, datalist: Datalist, modality: Modality, pool: Canvases, data: str, *, steps: int | None = None
) -> Path:
    """Self-supervised weights of the pool, pretrained as ``configs/pretrain.yaml`` says where they are not there.

    Killed, it goes on with the next call.

    Args:
        folder: of the benchmark.
        datalist: its pool is learned from.
        modality: at the size of the benchmark.
        pool: the images, decoded.
        data: fingerprint of the images.
        steps: of the optimiser; as the config has it where None.
    """
    given = {} if steps is None else {"steps": steps}
    place = folder / "pretrain" / run_key({"data": data, "size": modality.size, "modality": modality.name, **given})
    weights, done = place / "model_ssl_pretrained.pt", place / "run.json"
    with Claims(folder / "claims").wait(f"pretrain-{place.name}"):
        if not done.is_file():
            logger.info("pretraining on %d images; with --ssl-weights it is left out", len(datalist.ids("pool")))
            run_workflow(
                "pretrain",
                {"spec": modality, "datalist": datalist, "preprocessing": pool, "output_dir": place, **given},
            )
    return weights
