"""The benchmark of selection measures what it says."""

from __future__ import annotations

import csv
import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundle.benchmark.selection import (
    Cost,
    compare_ca,
    compare_farthest,
    compare_silhouettes,
    draw_costs,
    draw_pool,
    measure_cost,
    plain_farthest_points,
)
from bundle.commands import run_verb
from bundle.embedding import Embeddings


def test_a_drawn_pool_is_the_same_for_a_seed_and_valid_embeddings(tmp_path, monkeypatch):
    monkeypatch.setattr("bundle.benchmark.selection._BLOCK_ROWS", 64)
    first = Embeddings.load(draw_pool(tmp_path / "a", 200, features=8, seed=1))
    again = Embeddings.load(draw_pool(tmp_path / "b", 200, features=8, seed=1))
    other = Embeddings.load(draw_pool(tmp_path / "c", 200, features=8, seed=2))
    assert len(first) == 200 and first.ids == tuple(sorted(first.ids))
    np.testing.assert_array_equal(first.vectors, again.vectors)
    assert not np.array_equal(first.vectors, other.vectors)


def test_the_plain_farthest_points_are_farthest_points():
    line = np.array([[0.0], [10.0], [4.0], [7.0], [7.0]], dtype=np.float32)
    assert plain_farthest_points(line, 5).tolist() == [0, 1, 2, 3, 4]


def test_both_ways_of_every_comparison_agree(tmp_path):
    vectors = Embeddings.load(draw_pool(tmp_path / "p", 400, features=16, seed=0)).vectors[:]
    points = compare_farthest(vectors, 30, repeats=1)
    assert points.agreement == "the same 30 images in the same order"
    assert points.ratio == pytest.approx(points.plain / points.bundle)
    for found in (compare_silhouettes(vectors, seed=0, repeats=1), compare_ca(vectors, 30, seed=0, repeats=1)):
        assert float(found.agreement.split(";")[0].removeprefix("equal to ")) <= 1e-5


def test_the_plot_tells_the_exponent_of_the_selections_that_ended():
    costs = [Cost("ca", n, 3e-6 * n**1.5, None) for n in (1000, 4000, 20000)]
    failed = Cost("ca", 9000, None, None, "too large")
    labels = [draw_costs(found, budget=5).axes[0].get_legend_handles_labels()[1] for found in (costs, costs[:1])]
    assert labels == [["ca, N^1.50"], ["ca"]]
    assert draw_costs([*costs, failed], budget=5).axes[0].get_legend_handles_labels()[1] == labels[0]


def test_a_selection_that_takes_too_long_is_stopped_and_told(tmp_path):
    found = measure_cost(draw_pool(tmp_path / "p", 50, features=4, seed=0), "random", 5, seed=0, limit=0.0)
    assert found.seconds is None and found.note == "not done after 0 s"


_ENDLESS = """
import sys
from pathlib import Path
from bundle.benchmark import selection

selection.select = lambda *_, **__: Path(sys.argv[2]).read_text()  # of a pipe to which nothing is written
if __name__ == "__main__":
    selection.measure_cost(Path(sys.argv[1]), "random", 5, seed=0, limit=600)
"""


def test_a_selection_ends_with_the_benchmark_that_a_signal_killed(tmp_path):
    script, pipe = tmp_path / "endless.py", tmp_path / "pipe"
    script.write_text(_ENDLESS, encoding="utf-8")
    os.mkfifo(pipe)
    pool = draw_pool(tmp_path / "p", 50, features=4, seed=0)
    with subprocess.Popen([sys.executable, str(script), str(pool), str(pipe)]) as benchmark:
        try:
            end = _once_read(pipe)
        finally:
            benchmark.kill()
    left = select.poll()
    left.register(end, 0)  # the one event that is told unasked: nobody reads it any more
    assert left.poll(60_000)
    os.close(end)


def test_a_selection_that_is_refused_tells_why(tmp_path):
    found = measure_cost(draw_pool(tmp_path / "p", 50, features=4, seed=0), "random", 51, seed=0, limit=100)
    assert found.seconds is None and "budget must be" in found.note


def test_the_command_writes_its_tables_and_the_plot(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("bundle.commands.benchmark_selection.IMAGES", 300)
    out = tmp_path / "out"
    arguments = ["--work", "farthest", "cost", "--strategies", "random", "--sizes", "60", "120", "--budget", "20"]
    assert run_verb("benchmark_selection", [*arguments, "--features", "8", "--repeats", "1", "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["cost.csv", "cost.png", "run.json", "speed.csv"]
    with (out / "cost.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert [(row["strategy"], row["images"], row["note"]) for row in rows] == [
        ("random", "60", ""),
        ("random", "120", ""),
    ]
    assert all(float(row["seconds"]) > 0 for row in rows)
    assert json.loads((out / "run.json").read_text(encoding="utf-8"))["stage"] == "benchmark_selection"
    assert min(Image.open(out / "cost.png").size) > 300
    assert capsys.readouterr().out.splitlines()[-1] == str(out)


def test_a_pool_smaller_than_the_budget_is_refused(tmp_path, capsys):
    assert run_verb("benchmark_selection", ["--sizes", "50", "--budget", "60", "--out", str(tmp_path / "o")]) == 2
    assert "at least the budget of 60, got 50" in capsys.readouterr().err


def _once_read(pipe: Path, seconds: float = 60) -> int:
    """The end of a named pipe to write to, once somebody has opened the other."""
    end = time.monotonic() + seconds
    while True:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            assert time.monotonic() < end, f"nobody has read {pipe} within {seconds:g} s"
            time.sleep(0.1)
