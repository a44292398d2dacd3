"""Which images to annotate first: embeddings in, ranked ids out. Strategies know no path, no image and no plot."""

from bundle.selection import contrastive_annotation, kmeans, latent_clustering, random_draw
from bundle.selection.strategy import SelectedImage, Selection, Strategy, available_strategies, find_strategy, select

# Importing a strategy's module registers it.
_STRATEGIES = (contrastive_annotation, kmeans, latent_clustering, random_draw)

__all__ = ["SelectedImage", "Selection", "Strategy", "available_strategies", "find_strategy", "select"]
