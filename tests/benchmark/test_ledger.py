"""A run is known by all of its settings and by nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.benchmark.ledger import Ledger, run_key
from bundle.benchmark.scoring import BINS, Scores

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def drawn_scores(n: int) -> Scores:
    rng = np.random.default_rng(n)
    dice, jaccard, hd95 = rng.random((3, n), dtype=np.float32)
    pixels, correct = rng.integers(0, 99, (2, n, BINS)).astype(np.int32)
    return Scores(tuple(f"image_{i}" for i in range(n)), dice, jaccard, hd95, pixels, rng.random((n, BINS)), correct)


@given(st.dictionaries(st.text(), values, min_size=1))
def test_the_order_of_settings_plays_no_part_and_every_value_does(settings):
    assert run_key(settings) == run_key(dict(reversed(settings.items())))
    name = next(iter(settings))
    assert run_key(settings) != run_key({**settings, name: [settings[name], "other"]})
    assert run_key(settings) != run_key({key: value for key, value in settings.items() if key != name})


def test_a_row_and_its_scores_come_back_as_they_were_kept(tmp_path):
    ledger, scores = Ledger(tmp_path), drawn_scores(3)
    settings, results = {"seed": 0, "options": {"k": None}}, {"dice": 0.5, "selected": ["ä", "b"]}
    assert run_key(settings) not in ledger and ledger.rows() == []
    ledger.add(settings, results, scores, {"machine": "x"})
    ledger.add({"seed": 1}, {"dice": 0.6}, scores, {})
    assert run_key(settings) in ledger and len(ledger.rows()) == 2
    row = ledger.row(run_key(settings))
    assert (row["settings"], row["results"], row["about"]) == (settings, results, {"machine": "x"})
    again = ledger.scores(row["run"])
    assert again.ids == scores.ids
    for name in ("dice", "jaccard", "hd95", "pixels", "confidence", "correct"):
        np.testing.assert_array_equal(getattr(again, name), getattr(scores, name))


def test_a_file_that_is_no_row_is_named(tmp_path):
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "ab.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"ab\.json is no row"):
        Ledger(tmp_path).rows()
