"""The sections on a whole run, in the order of its stages."""

from __future__ import annotations

from bundle.embedding import Embeddings
from bundle.report.blocks import Absent, Note, Section, Tiles
from bundle.report.evaluation_part import EvaluationPart
from bundle.report.montage import prediction_tiles
from bundle.report.pretraining_part import pretraining
from bundle.report.record_part import what_was_run
from bundle.report.run_folder import RunFolder, mapping
from bundle.report.selection_part import SelectionPart
from bundle.report.training_part import training

LAYOUT = "it needs a datalist.json, or one of the folders pretrain, selection, predictions or of a training run"


def sections(run: RunFolder) -> list[Section]:
    """Every section of the report of ``run``, in the order in which the stages follow each other."""
    return [
        what_was_run(run),
        pretraining(run),
        selection(run),
        training(run),
        EvaluationPart(run).section(),
        inference(run),
    ]


def selection(run: RunFolder) -> Section:
    """What to annotate, and why these."""
    try:
        rows = run.rows("selection/selection.csv")
    except Absent as absent:
        return Section("selection", "Selection", blocks=[Note(str(absent), muted=True)])
    try:
        diagnostics = run.json("selection/diagnostics.json")
    except Absent:
        diagnostics = {}
    try:
        embeddings = Embeddings.load(run.path / "embeddings")
    except (ValueError, OSError):
        embeddings = None
    paths = {row["id"]: run.path / row["image"] for row in rows if row.get("image")} | run.image_paths
    record = run.records().get("selection", {})
    named = {"strategy": mapping(record.get("settings")).get("strategy")}
    return SelectionPart(rows, named | diagnostics, embeddings, paths, run.modality).section()


def inference(run: RunFolder) -> Section:
    """Some predicted masks."""
    section = Section("inference", "Inference")
    section.add(_tiles, run)
    return section


def _tiles(run: RunFolder) -> Tiles:
    rows = run.rows("predictions/predictions.csv")
    if run.modality is None:
        raise Absent("No pictures: nothing tells the modality, so the images cannot be read.")
    return prediction_tiles(rows, run.path / "predictions", run.image_paths, run.modality)
