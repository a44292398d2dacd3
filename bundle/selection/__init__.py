"""Which images to annotate: embeddings or scores in, ranked ids out. No strategy knows a path, an image or a plot."""

# Importing the module of a strategy or a criterion registers it.
from bundle.selection import (  # noqa: F401
    active_finetuning,
    bald,
    ceal,
    cold_start,
    contrastive_annotation,
    disagreement,
    ensemble,
    entropy,
    facility_location,
    kcenter,
    kmeans,
    kmedoids,
    latent_clustering,
    maxherding,
    pass_variance,
    probability_cover,
    random_draw,
    representative_annotation,
    representative_sampling,
    selective_labelling,
    stratified_draw,
    typical_clustering,
    view_disagreement,
)
from bundle.selection.criterion import Criterion, available_criteria, find_criterion, score
from bundle.selection.strategy import SelectedImage, Selection, Strategy, available_strategies, find_strategy, select

__all__ = [
    "Criterion",
    "SelectedImage",
    "Selection",
    "Strategy",
    "available_criteria",
    "available_strategies",
    "find_criterion",
    "find_strategy",
    "score",
    "select",
]
