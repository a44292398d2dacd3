"""``maxherding``: greedy kernel coverage (Bae, Noh and Sutherland, ECCV 2024, arXiv 2407.12212)."""

from __future__ import annotations

from bundle.selection.greedy_cover import SAMPLE, Sample, rank_by_cover
from bundle.selection.options import require_whole
from bundle.selection.similarity import gaussian
from bundle.selection.strategy import Pool, Ranking, strategy


@strategy(
    "maxherding",
    nested=True,
    summary="each image adds most to the coverage of the pool by a Gaussian kernel",
    good_for="few labels, in several rounds",
    cost="min(N, 20 000)² D, and N for the sample",
    paper="Bae et al. 2024, ECCV, arXiv 2407.12212",
)
def max_herding(pool: Pool, budget: int, *, radius: float = 1.0, sample: int = SAMPLE) -> Ranking:
    """Images that raise the generalised coverage of the pool most, one after the other.

    Vectors x are put at length 1. The generalised coverage of a set S is the mean over the pool of max over x' in S of
    k(x, x'), with the Gaussian kernel k(x, x') = exp(-|x - x'|² / radius²); their algorithm 1 always takes the image
    that adds most to it, which is the score. Labelled images cover before the first is taken.

    Costs M² D / 2 for the kernel matrix of M = min(N, ``sample``) images, about 2 M² for the first two images, little
    for each of the others, L M D for L labelled images, and 4 M² bytes of memory: 1.5 GiB for the default. In a larger
    pool a random M of the N images stand for it, both as those to cover and as those to choose from, whatever the
    budget; labelled images count wherever they are; a budget beyond M is filled up at random.

    Where this departs from the authors' code, and why:

    - theirs, too, draws a random sample to cover and to choose from, 35 000 images, anew for every round; here it stays
      the same over the rounds, so that they go on from each other;
    - all gains are computed anew in theirs after every image; here only those that may be the largest;
    - similarities are rounded to 6e-8, so that no answer depends on the number of threads.

    Args:
        radius: of the kernel; 1 in the authors' code for all data sets; the paper's point is how little it matters.
        sample: images, at most, whose similarities are computed.
    """
    require_whole("sample", sample, least=1)
    kernel = gaussian(radius, option="radius")
    return rank_by_cover(pool, budget, Sample.draw(pool, sample), kernel, {"radius": float(radius)})
