"""A small run on drawn images: every file that the stages write, with scores computed from its own masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundle.data.datalist import Datalist
from bundle.embedding import Embeddings
from bundle.report.overlays import overlay
from bundle.run.atomic import write_json
from bundle.run.quarantine import Quarantine
from bundle.run.record import RunRecord
from bundle.run.table import write_csv
from bundle.selection import select

IDS = [f"case/{number:02d}" for number in range(24)]
POOL, VALIDATION, TEST = IDS[:16], IDS[:2], IDS[16:]


def disc(number: int, *, shift: int = 0, side: int = 32) -> np.ndarray:
    """(side, side) mask of a disc whose size and place follow from ``number``."""
    y, x = np.mgrid[:side, :side]
    return ((x - 12 - number % 5 - shift) ** 2 + (y - 14 - number % 3) ** 2 < (4 + number % 6) ** 2).astype(np.uint8)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@pytest.fixture()
def run_folder(tmp_path: Path) -> Path:
    """The folder of a whole run."""
    run, images, masks = (tmp_path / name for name in ("run", "images", "masks"))
    pixels = {}
    for number, name in enumerate(IDS):
        mask = disc(number)
        pixels[name] = np.full((32, 32, 3), 200, np.uint8) - mask[..., None] * np.array([60, 90, 10 * (number % 9)])
        for folder, content in ((images, pixels[name].astype(np.uint8)), (masks, mask * 255)):
            path = folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(content).save(path)

    def entries(names: list[str]) -> tuple[dict[str, str], ...]:
        return tuple({"id": name, "image": f"{name}.png", "label": f"{name}.png"} for name in names)

    sections = {"pool": entries(POOL), "validation": entries(VALIDATION), "test": entries(TEST)}
    Datalist("dermoscopy", images, masks, sections).save(run / "datalist.json")
    quarantine = Quarantine()
    quarantine.add("Jane_Doe.png", "truncated: 12 bytes are missing")
    quarantine.write(run)
    RunRecord("make_datalist", {"modality": "dermoscopy"}).write(run)

    epochs = range(1, 6)
    history = [{"epoch": n, "step": 4 * n, "loss": 3 / n, "contrastive": 2 / n, "restoration": 1 / n} for n in epochs]
    write_csv(run / "pretrain" / "history.csv", history, list(history[0]))
    policies = [{"name": "mild", "loss": 1.0, "retrieval": 0.9}, {"name": "strong", "loss": 2.0, "retrieval": 0.3}]
    write_json(run / "pretrain" / "policies.json", {"chosen": "mild", "retrieval_floor": 0.5, "policies": policies})
    record = RunRecord("pretrain", {"output_dir": tmp_path / "home" / "pretrain"}, seed=7)
    record.note("collapse", {"descriptor_spread": 0.5, "effective_rank": 4.0, "warnings": []})
    record.write(run / "pretrain")

    vectors = np.stack([pixels[name].reshape(-1, 3).mean(axis=0) for name in POOL]).astype(np.float32)
    embeddings = Embeddings(tuple(POOL), vectors - vectors.mean(axis=0))
    embeddings.save(run / "embeddings")
    selection = select(embeddings, strategy="ca", budget=6, seed=3, exclude=VALIDATION, k_min=2, k_max=4)
    rows = [
        {"rank": r.rank, "id": r.id, "image": images / f"{r.id}.png", "cluster": r.cluster, "score": r.score}
        for r in selection.rows
    ]
    write_csv(run / "selection" / "selection.csv", rows, ["rank", "id", "image", "cluster", "score"])
    write_json(run / "selection" / "diagnostics.json", {"strategy": "ca", **selection.diagnostics})

    for shift, name in enumerate(("warm_selected", "scratch_random")):
        history = [{"step": 4 * n, "loss": (shift + 1) / n, "val_dice": "" if n % 2 else 0.1 * n} for n in epochs]
        write_csv(run / name / "history.csv", history, ["step", "loss", "val_dice"])
        scores, drawn = [], {}
        for case in TEST:
            truth, prediction = disc(IDS.index(case)), disc(IDS.index(case), shift=shift + 1)
            scores.append({"id": case, "dice": dice(truth, prediction)})
            drawn[case] = overlay(pixels[case].astype(np.uint8), truth, prediction)
        write_csv(run / name / "evaluation" / "per_image.csv", scores, ["id", "dice"])
        values = [score["dice"] for score in scores]
        spread = {"mean": np.mean(values), "median": np.median(values), "low": min(values), "high": max(values)}
        ranked = sorted(scores, key=lambda score: score["dice"])
        cases = {"worst": ranked[:6], "median": ranked[1:7]}
        write_json(run / name / "evaluation" / "summary.json", {"n": len(values), "dice": spread, "cases": cases})
        (run / name / "evaluation" / "overlays").mkdir()
        for kind, chosen in cases.items():
            for place, case in enumerate(chosen, start=1):
                picture = Image.fromarray(drawn[case["id"]])
                picture.save(run / name / "evaluation" / "overlays" / f"{kind}_{place:02d}.png")

    (run / "predictions").mkdir()
    predictions = []
    for case in TEST:
        mask = f"{case.replace('/', '_')}.png"
        Image.fromarray(disc(IDS.index(case), shift=1)).save(run / "predictions" / mask)
        predictions.append({"id": case, "image": images / f"{case}.png", "mask": mask})
    write_csv(run / "predictions" / "predictions.csv", predictions, ["id", "image", "mask"])
    return run
