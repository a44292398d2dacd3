"""Every stage of the pipeline on the drawn hospital, as a command line that writes below one folder."""

from __future__ import annotations

from pathlib import Path

from .conftest import Hospital

STAGES = ("make_datalist", "pretrain", "embed", "select_samples", "train", "evaluate", "infer", "report")
# Stages whose folder belongs to a request: the same one goes on there, and any other is refused.
CLAIMED = ("pretrain", "train", "evaluate", "infer")


def arguments(stage: str, hospital: Hospital, out: Path) -> list[str]:
    """The stage's command line; its stages before it are those of the fixtures ``hospital``, ``trained`` and so on."""
    ssl = str(hospital.root / "pretrain" / "model_ssl_pretrained.pt")
    model = ["--model", str(hospital.root / "train" / "model.pt")]
    datalist = ["--datalist", str(hospital.datalist)]
    images = ["--images", str(hospital.images), "--modality", str(hospital.modality)]
    if stage == "make_datalist":
        return [*images, "--masks", str(hospital.masks), "--test-fraction", "0.2", "--out", str(out / "datalist.json")]
    if stage == "pretrain":
        return hospital.pretrain(out)
    if stage == "train":
        return hospital.train(out, "--ssl-weights", ssl)
    if stage == "select_samples":
        options = ["--embeddings", str(hospital.root / "embeddings"), "--budget", "4", "--strategy", "kmeans"]
        return [*datalist, *options, "--out", str(out / "selection"), "--copy-to", str(out / "copies")]
    if stage == "report":
        return ["--run", str(hospital.root / "train"), "--out", str(out / "report.html")]
    rest = {"embed": [*datalist, "--weights", ssl], "evaluate": [*datalist, *model], "infer": [*images, *model]}
    return [*rest[stage], "--out", str(out / stage if stage == "embed" else out)]
