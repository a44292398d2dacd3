"""One seed reaches every stream, and no stream depends on another."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from bundle.run.seeds import derive_seed, numpy_stream


def test_streams_differ_by_name_and_by_seed():
    seeds = {derive_seed(seed, *names) for seed in range(20) for names in [(), ("a",), ("b",), ("a", 0), ("a", 1)]}
    assert len(seeds) == 100


def test_names_do_not_run_into_each_other():
    assert derive_seed(1, "a", "b") != derive_seed(1, "ab")
    assert derive_seed(1, "2", "3") != derive_seed(12, "3")
    assert derive_seed(0, "a', 'b") != derive_seed(0, "a", "b")


@given(st.integers(), st.lists(st.text() | st.integers(), max_size=4))
def test_seeds_are_numbers_that_numpy_and_torch_take(seed, names):
    derived = derive_seed(seed, *names)
    assert 0 <= derived < 2**63
    np.random.default_rng(derived)
    torch.Generator().manual_seed(derived)


def test_streams_are_the_same_in_every_process():
    script = "from bundle.run.seeds import *\nprint(derive_seed(3, 'x', 1), numpy_stream(3, 'x').integers(10**9))"
    said = {
        subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONHASHSEED": salt},
        ).stdout
        for salt in ("1", "2")
    }
    assert said == {f"{derive_seed(3, 'x', 1)} {numpy_stream(3, 'x').integers(10**9)}\n"}


def test_a_stream_starts_anew_at_every_call():
    assert numpy_stream(0, "a").random() == numpy_stream(0, "a").random()
