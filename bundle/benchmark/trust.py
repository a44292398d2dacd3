"""What the signs of trust are worth: does confidence rank errors, and are images of another kind told."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import ConstantInputWarning, spearmanr
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from bundle.data.canvas import from_canvas
from bundle.data.modality import Modality
from bundle.data.transforms import preprocessing
from bundle.network import Inspection
from bundle.run.seeds import numpy_stream
from bundle.segmentation.canvas_part import image_part
from bundle.segmentation.fine_tuned import load_fine_tuned
from bundle.segmentation.metrics import score_image
from bundle.segmentation.trust import FAR, Judged, Trust
from bundle.weights import load_weights

CLEAN, OTHER = "clean", "other modality"
SIGNS = {"confidence": 1.0, "head_agreement": 1.0, "entropy": -1.0, "out_of_domain": -1.0}  # 1: higher is better
KEPT = (0.95, 0.9, 0.8, 0.7)  # shares of the images that a ward may want masks of without a look
WORST = 0.1  # share of the images that count as failures
BOOTSTRAP_DRAWS = 1000  # of a rank correlation each; the ends of a 95 % interval then err by 2 % of its width
Damage = Callable[[np.ndarray, np.random.Generator], np.ndarray]

# (C, W, H) in 0..1 on the canvas to the same, in steps that a person sees at a glance.
DAMAGES: dict[str, Damage] = {
    "blur, sigma 1.5": lambda x, _: gaussian_filter(x, (0, 1.5, 1.5)),
    "blur, sigma 3": lambda x, _: gaussian_filter(x, (0, 3, 3)),
    "noise, sigma 0.1": lambda x, rng: x + rng.normal(0, 0.1, x.shape),
    "noise, sigma 0.2": lambda x, rng: x + rng.normal(0, 0.2, x.shape),
    "dark, x 0.3": lambda x, _: 0.3 * x,
    "bright, x 0.5 + 0.5": lambda x, _: 0.5 * x + 0.5,
    "inverted": lambda x, _: 1 - x,
    "turned by 90 degrees": lambda x, _: np.rot90(x, axes=(1, 2)) if x.shape[1] == x.shape[2] else x,
}


def measure(
    entries: Sequence[Mapping[str, Any]],
    others: Iterable[Path],
    *,
    modality: Modality,
    model: Path,
    damaged: int = 150,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """One row an image and kind: ``id``, ``kind``, ``dice`` where the truth is known, and the columns of a prediction.

    Args:
        entries: test images with ``id``, ``image`` and ``label``.
        others: files of another modality.
        model: fine-tuned weights with a reference.
        damaged: how many of the entries, drawn by ``seed``, are also looked at under every damage.

    Raises:
        ValueError: weights without a reference, or of another modality.
    """
    if not load_weights(model).reference:
        raise ValueError(f"{model} holds no reference of its training images; add one with `coldstart fit_domain`")
    network, judge = Inspection(load_fine_tuned(model, modality)).eval(), Judged(modality, model)
    load, load_truth = preprocessing(modality), preprocessing(modality, label="native")

    def look(image: Any) -> dict[Any, Any]:
        with torch.no_grad():
            found = network(image.as_tensor()[None])
        return judge({"image": image, "pred": {name: tensor[0] for name, tensor in found.items()}})

    drawn = set(numpy_stream(seed, "damaged").permutation(len(entries))[:damaged].tolist())
    rows: list[dict[str, Any]] = []
    for number, entry in enumerate(tqdm(entries, desc="test images", disable=None)):
        item = load_truth({"image": entry["image"], "label": entry["label"]})
        done = look(item["image"])
        truth = item["label"][0].as_tensor()
        mask = from_canvas(done["pred"], *truth.shape).argmax(dim=0)
        dice = score_image(mask, truth, modality.classes)["dice"]
        rows.append(_row(entry["id"], CLEAN, done["trust"], dice))
        if number not in drawn:
            continue
        for kind, damage in DAMAGES.items():
            image = load({"image": entry["image"]})["image"]
            own = image_part(image)
            changed = damage(own.numpy(), numpy_stream(seed, kind, entry["id"]))
            own[:] = torch.from_numpy(np.clip(changed, 0, 1).astype(np.float32))
            rows.append(_row(entry["id"], kind, look(image)["trust"], None))
    for path in tqdm(list(others), desc=OTHER, disable=None):
        rows.append(_row(path.stem, OTHER, look(load({"image": str(path)})["image"])["trust"], None))
    return rows


def summarise(rows: Sequence[Mapping[str, Any]], *, seed: int = 0) -> dict[str, Any]:
    """The answers, from the rows of :func:`measure`.

    Returns:
        ``ranking``: for every sign Spearman's rank correlation with the Dice (``rho``, with ``low`` and ``high`` of a
        95 % bootstrap interval over images) and ``auroc``, the chance that a failure (the worst ``WORST``) has a worse
        sign than another image. ``kept``: mean Dice of the images that the most confident share leaves, and of the
        refused. ``kinds``: by kind ``auroc`` of the distance against clean images and the share ``far`` beyond the
        border. ``flags``: by flag how many clean images have it and the mean Dice with and without it.
    """
    clean = [row for row in rows if row["kind"] == CLEAN]
    dice = np.array([row["dice"] for row in clean])
    failed = dice <= np.quantile(dice, WORST)
    draws = numpy_stream(seed, "bootstrap").integers(0, len(dice), (BOOTSTRAP_DRAWS, len(dice)))
    ranking = {}
    for name, sign in SIGNS.items():
        values = sign * np.array([row[name] for row in clean])
        spread = np.nanpercentile([_correlation(values[draw], dice[draw]) for draw in draws], [2.5, 97.5])
        figures = (_correlation(values, dice), *spread, _auroc(failed, -values))
        ranking[name] = dict(zip(("rho", "low", "high", "auroc"), map(_short, figures), strict=True))
    order = np.argsort([-row["confidence"] for row in clean], kind="stable")
    kept = []
    for share in KEPT:
        count = round(share * len(order))
        sure, refused = dice[order[:count]], dice[order[count:]]
        bound = clean[order[count - 1]]["confidence"]
        kept.append(
            {"share": share, "bound": _short(bound), "dice": _short(sure.mean()), "refused": _short(refused.mean())}
        )
    near = np.array([row["out_of_domain"] for row in clean])
    kinds = {CLEAN: {"n": len(near), "auroc": None, "far": _short((near > FAR).mean())}}
    for kind in dict.fromkeys(row["kind"] for row in rows if row["kind"] != CLEAN):
        far = np.array([row["out_of_domain"] for row in rows if row["kind"] == kind])
        auroc = _auroc(np.r_[np.zeros(len(near)), np.ones(len(far))], np.r_[near, far])
        kinds[kind] = {"n": len(far), "auroc": _short(auroc), "far": _short((far > FAR).mean())}
    flags = {}
    for flag in sorted({flag for row in clean for flag in row["quality"]}):
        has = np.array([flag in row["quality"] for row in clean])
        rest = _short(dice[~has].mean()) if not has.all() else None
        flags[flag] = {"n": int(has.sum()), "dice": _short(dice[has].mean()), "dice_without": rest}
    return {
        "n": len(dice),
        "dice": _short(dice.mean()),
        "ranking": ranking,
        "kept": kept,
        "kinds": kinds,
        "flags": flags,
    }


def _correlation(values: np.ndarray, dice: np.ndarray) -> float:
    """Spearman's rank correlation; NaN where either is constant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        return float(spearmanr(values, dice)[0])


def _auroc(positive: np.ndarray, values: np.ndarray) -> float:
    """NaN where there is one kind alone."""
    return float(roc_auc_score(positive, values)) if 0 < positive.sum() < len(positive) else math.nan


def _row(identifier: str, kind: str, trust: Trust, dice: float | None) -> dict[str, Any]:
    return {"id": identifier, "kind": kind, "dice": dice, **vars(trust)}


def _short(value: float) -> float | None:
    """Four digits; None for what is not defined, such as the correlation with a constant."""
    return round(float(value), 4) if math.isfinite(value) else None
