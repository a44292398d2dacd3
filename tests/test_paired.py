"""Tests of significance over seeds."""

from __future__ import annotations

import itertools

import pytest

from bundle.benchmark.paired import holm, signed_rank


def test_signed_rank_counts_the_signs_that_rank_as_far_out_in_plain_loops():
    differences = [0.5, -0.1, 0.3, 0.7, -0.2, 0.9]
    ranks = {d: rank for rank, d in enumerate(sorted(map(abs, differences)), start=1)}
    seen = sum(ranks[abs(d)] for d in differences if d > 0)
    sums = [
        sum(r for r, s in zip(ranks.values(), signs, strict=True) if s) for signs in itertools.product((0, 1), repeat=6)
    ]
    middle = sum(ranks.values()) / 2
    wanted = sum(abs(total - middle) >= abs(seen - middle) for total in sums) / len(sums)
    assert signed_rank(dict(enumerate(differences)), dict.fromkeys(range(6), 0.0)) == pytest.approx(wanted)


def test_without_a_difference_there_is_no_p():
    assert signed_rank({0: 0.5, 1: 0.6}, {0: 0.5, 1: 0.6}) is None


def test_holm_multiplies_by_what_is_left_never_falls_and_leaves_out_what_was_not_tested():
    assert holm([0.01, 0.04, None, 0.03]) == [pytest.approx(0.03), pytest.approx(0.06), None, pytest.approx(0.06)]
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []
