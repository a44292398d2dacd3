"""``facility_location``: greedy facility location, the plainest of the submodular coverages."""

from __future__ import annotations

from bundle.selection.greedy_cover import SAMPLE, Sample, rank_by_cover
from bundle.selection.options import require_choice, require_whole
from bundle.selection.similarity import cosine, gaussian, median_distance
from bundle.selection.strategy import Pool, Ranking, strategy

KERNELS = ("cosine", "gaussian")


@strategy(
    "facility_location",
    nested=True,
    summary="each image adds most to the summed similarity of all images to the nearest chosen",
    good_for="typical and different images in one ranking",
    cost="min(N, 20 000)² D, and N for the sample",
    paper="Wei et al. 2015, ICML (submodularity in data subset selection)",
)
def facility_location(
    pool: Pool, budget: int, *, kernel: str = "cosine", width: float | None = None, sample: int = SAMPLE
) -> Ranking:
    """Images whose nearest similarities sum to most, one after the other.

    On vectors of length 1 the facility location function f(S) = sum over the pool of max over j in S of s(i, j) (Wei,
    Iyer and Bilmes 2015; Cornuejols, Fisher and Nemhauser 1977) is raised as far as one image can, again
    and again, by the lazy greedy search. The score is what the image added to f, divided by the pool's size. Labelled
    images enter S first.

    Costs M² D / 2 for the similarities of M = min(N, ``sample``) images, about 2 M² for the first two images, little
    for each of the others, L M D for L labelled images, and 4 M² bytes of memory: 1.5 GiB for the default. In a larger
    pool a random M of the N images stand for it, both as those to cover and as those to choose from, whatever the
    budget; labelled images count wherever they are; a budget beyond M is filled up at random.

    Args:
        kernel: ``"cosine"``, s = (1 + cos) / 2, which has no width: it sees the whole of the pool with every image and
            so prefers what is typical; or ``"gaussian"``, s = exp(-d² / width²), which sees the neighbourhood alone.
        width: of the Gaussian. By default the median distance of 1000 random images, the median heuristic (Garreau et
            al. 2017, arXiv 1707.07269).
        sample: images, at most, whose similarities are computed.
    """
    require_choice("kernel", kernel, KERNELS)
    require_whole("sample", sample, least=1)
    drawn = Sample.draw(pool, sample)
    if kernel == "cosine":
        if width is not None:
            raise ValueError(f"option width is for kernel=gaussian, the cosine has none, got {width!r}")
        return rank_by_cover(pool, budget, drawn, cosine, {})
    if width is None:
        width = median_distance(drawn.points, pool.stream("median_distance"))
    return rank_by_cover(pool, budget, drawn, gaussian(width), {"width": float(width)})
