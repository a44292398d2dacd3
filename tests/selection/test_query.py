"""Which images a round asks for, given scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.embedding import Embeddings
from bundle.selection.query import DIVERSITIES, query
from bundle.selection.uncertainty import Uncertainties, Uncertainty, assess
from bundle.selection.weak_labeller import quota, weak_labels

from .opinions import disc, sure_of
from .pools import clustered_pool

figures = st.sampled_from([0.0, 0.1, 0.5, 1.0])  # few, so that ties are common


@st.composite
def scored_pools(draw: st.DrawFn) -> Uncertainties:
    names = draw(st.permutations([f"scan/{i}" for i in range(draw(st.integers(1, 20)))]))
    return Uncertainties({n: Uncertainty(draw(figures), draw(figures), draw(figures)) for n in names})


def embeddings_of(found: Uncertainties) -> Embeddings:
    rng = np.random.default_rng(1)
    return Embeddings(tuple(found), rng.normal(size=(len(found), 3)).astype(np.float32))


@pytest.mark.parametrize("diversity", DIVERSITIES)
@given(data=st.data(), found=scored_pools(), seed=st.integers(0, 3))
def test_gives_exactly_the_budget_of_images_that_are_left_in_any_order_of_rows(diversity, data, found, seed):
    labelled = data.draw(st.sets(st.sampled_from(sorted(found))))
    exclude = data.draw(st.sets(st.sampled_from(sorted(found))))
    left = set(found) - labelled - exclude
    common = {"diversity": diversity, "seed": seed, "labelled": labelled, "exclude": exclude}
    if diversity == "coverage":
        common["embeddings"] = embeddings_of(found)
    if not left:
        with pytest.raises(ValueError, match="budget must be"):
            query(found, 1, **common)
        return
    budget = data.draw(st.integers(1, len(left)))
    chosen = query(found, budget, **common)
    assert len(set(chosen.ids)) == len(chosen) == budget and set(chosen.ids) <= left
    assert [row.rank for row in chosen.rows] == list(range(1, budget + 1))
    assert all(row.score == found[row.id].score and row.reason for row in chosen.rows)
    order = data.draw(st.permutations(sorted(found)))
    assert query(Uncertainties({name: found[name] for name in order}), budget, **common) == chosen


@pytest.mark.parametrize("diversity", DIVERSITIES)
@pytest.mark.parametrize("budget", [0, -1, 8, 2.0, True, "3"])
def test_more_than_there_is_or_no_number_is_refused_with_the_numbers(diversity, budget):
    found = Uncertainties({f"i{n}": Uncertainty(0.1, 0.5, 0.9) for n in range(10)})
    with pytest.raises(ValueError, match=r"from 1 to 7.*10 scored, 2 of them labelled already, 1 excluded"):
        query(found, budget, diversity=diversity, labelled=["i0", "i1"], exclude=["i9"])


def test_without_diversity_the_highest_scores_come_first_and_ties_in_the_order_of_ids():
    found = Uncertainties({n: Uncertainty(s, 0.5, 0.9) for n, s in {"c": 0.2, "b": 0.2, "a": 0.1, "d": 0.9}.items()})
    assert query(found, 4).ids == ("d", "b", "c", "a")


def test_an_image_on_which_nothing_was_found_comes_first_and_says_so():
    missed = assess(sure_of(disc(0), disc(0), disc(0)), "dsal")
    torn = assess(sure_of(disc(8), disc(0), disc(0)), "dsal")
    found = query(Uncertainties({"torn": torn, "missed": missed}), 2)
    assert found.ids == ("missed", "torn") and torn.score == 1 and missed.empty and not torn.empty
    assert "nothing was found" in found.rows[0].reason and "nothing" not in found.rows[1].reason


def test_coverage_takes_from_every_kind_among_the_uncertain_and_keeps_away_from_labels():
    ids, vectors, cluster = clustered_pool((20, 20, 20, 20))
    of_kind = {name: int(kind) for name, kind in zip(ids, cluster, strict=True)}
    uncertain = {name: Uncertainty(0.1 if kind == 3 else 0.9, 0.5, 0.9) for name, kind in of_kind.items()}
    options = {"diversity": "coverage", "embeddings": Embeddings(ids, vectors), "shortlist": 20}
    three = query(Uncertainties(uncertain), 3, **options)
    assert {of_kind[name] for name in three.ids} == {0, 1, 2}
    labelled = [next(name for name in ids if of_kind[name] == kind) for kind in (0, 1)]
    (one,) = query(Uncertainties(uncertain), 1, labelled=labelled, **{**options, "shortlist": 60}).ids
    assert of_kind[one] == 2


def test_coverage_looks_at_the_shortlist_alone_and_needs_embeddings():
    ids, vectors, _ = clustered_pool((10, 10))
    found = Uncertainties({name: Uncertainty(i / 20, 0.5, 0.9) for i, name in enumerate(ids)})
    chosen = query(found, 3, diversity="coverage", embeddings=Embeddings(ids, vectors), shortlist=2)
    assert set(chosen.ids) <= set(found.ranked()[:6])
    with pytest.raises(ValueError, match="needs the embeddings"):
        query(found, 3, diversity="coverage")


def test_noise_fades_to_the_plain_order_of_every_band_and_takes_from_all_bands():
    scores = np.random.default_rng(0).permutation(30) / 30 + 0.01
    found = Uncertainties({f"i{n:02d}": Uncertainty(float(s), n / 30, 0.9) for n, s in enumerate(scores)})
    calm = query(found, 6, diversity="noise", progress=1.0, beta_end=1e9)
    for band in range(3):
        names = sorted((f"i{n:02d}" for n in range(10 * band, 10 * band + 10)), key=lambda n: -found[n].score)
        assert [name for name in calm.ids if name in names] == names[:2]
    loud = [query(found, 6, diversity="noise", seed=seed).ids for seed in range(2)]
    assert loud[0] != loud[1] and all(len({int(name[1:]) // 10 for name in ids}) == 3 for ids in loud)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"diversity": "spread"}, "diversity must be one of none, coverage, noise"),
        ({"diversity": "noise", "band": 3}, "did you mean 'bands'"),
        ({"diversity": "noise", "beta_start": 0}, "beta_start must be a number above 0"),
        ({"diversity": "noise", "progress": 2}, "progress must be a number"),
        ({"diversity": "noise", "bands": 0}, "bands must be a whole number"),
        ({"diversity": "coverage", "shortlist": 0}, "shortlist must be a whole number"),
    ],
)
def test_an_option_out_of_range_is_refused(options, told):
    with pytest.raises(ValueError, match=told):
        query(Uncertainties({"a": Uncertainty(0.5, 0.5, 0.9)}), 1, **options)


@given(found=scored_pools())
def test_the_table_survives_a_round_trip(found, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scores")
    found.save(folder)
    assert dict(Uncertainties.load(folder)) == dict(found)


def test_figures_that_are_none_are_refused_by_the_image_s_id(tmp_path):
    with pytest.raises(ValueError, match="score of image 'a'"):
        Uncertainties({"a": Uncertainty(float("nan"), 0.5, 0.9)})
    with pytest.raises(ValueError, match="score_uncertainty"):
        Uncertainties.load(tmp_path)
    (tmp_path / "scores.csv").write_text("id,score\na,1\n")
    with pytest.raises(ValueError, match="columns"):
        Uncertainties.load(tmp_path)


def test_confidence_is_one_half_more_than_dsal_s_and_foreground_is_a_share():
    row = assess(sure_of(disc(6), disc(6), disc(6), certainty=0.7), "dsal")
    assert row.confidence == pytest.approx(0.5 + abs(0.7 - 0.5)) and row.foreground == pytest.approx(disc(6).mean())


def test_the_weak_labeller_takes_of_the_surest_bin_those_whose_heads_agree_most():
    rows = {f"sure{i}": Uncertainty(s, 0.3, 0.99) for i, s in enumerate([0.05, 0.01, 0.03, 0.5])}
    others = {"edge": 0.94, "inside": 0.95, "doubt": 0.5}
    rows |= {name: Uncertainty(0.0, 0.3, confidence) for name, confidence in others.items()}
    found = Uncertainties(rows)  # bins from .5 to .99: the last begins at .941
    assert weak_labels(found, 3) == ["inside", "sure1", "sure2"]
    assert weak_labels(found, 99) == ["inside", "sure1", "sure2", "sure0"], "sure3 is below the least agreement"
    assert weak_labels(found, 3, exclude={"inside"}) == ["sure1", "sure2", "sure0"]


def test_an_image_that_lacks_a_label_in_every_head_is_no_pseudo_label_though_they_agree():
    whole, part = disc(8) + disc(3), disc(8)  # of two labels the second is missed by all
    found = Uncertainties(
        {name: assess(sure_of(*[mask] * 3, classes=3), "dsal") for name, mask in (("whole", whole), ("part", part))}
    )
    assert found["part"].score == 0 and found["part"].unseen == 1 and found["whole"].unseen == 0
    assert weak_labels(found, 2) == ["whole"]


def test_a_label_that_one_head_sees_is_not_unseen():
    assert assess(sure_of(disc(8), disc(8), disc(8) + disc(3), classes=3), "dsal").unseen == 0


def test_a_table_without_the_number_of_unseen_labels_can_be_read(tmp_path):
    (tmp_path / "scores.csv").write_text("id,score,foreground,confidence\na,0.25,0.5,0.9\n")
    assert dict(Uncertainties.load(tmp_path)) == {"a": Uncertainty(0.25, 0.5, 0.9)}


@given(found=scored_pools(), data=st.data())
def test_a_pseudo_label_is_never_empty_nor_the_expert_s_and_there_are_at_most_so_many(found, data):
    exclude = data.draw(st.sets(st.sampled_from(sorted(found))))
    count = data.draw(st.integers(0, 25))
    chosen = weak_labels(found, count, exclude=exclude, least_agreement=0)
    assert len(chosen) == len(set(chosen)) <= count and not set(chosen) & exclude
    assert not any(found[name].empty for name in chosen)


def test_pseudo_labels_grow_from_their_first_round_on():
    assert [quota(n, first=5, per_round=20) for n in range(8)] == [0, 0, 0, 0, 0, 20, 40, 60]
