"""Figures: data in, Figure out; nothing of matplotlib's global state is touched."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from bundle.embedding import Embeddings
from bundle.report.curves import (
    coverage_against_typicality,
    coverage_comparison,
    coverage_curve,
    learning_curves,
    policy_scores,
    pretraining_curves,
    running_mean,
    silhouette_curve,
)
from bundle.report.maps import cluster_colours, cluster_sizes, embedding_map, project
from bundle.report.montage import MOST_TILES, case_tiles, selection_montage
from bundle.report.pages import write_selection_report
from bundle.report.pictures import figure_uri, thumbnail_uri
from bundle.report.scores import score_plot
from bundle.report.style import run_looks, run_order, run_title
from bundle.selection import select

RANDOM = {"mean": [0.9, 0.7, 0.6], "low": [0.8, 0.6, 0.5], "high": [1.0, 0.8, 0.7]}
DRAWINGS = {
    "pretraining": lambda: pretraining_curves([1, 2, 3], {"loss": [3.0, np.nan, 1.0], "accuracy": [0.1, 0.2, 0.3]}),
    "policies": lambda: policy_scores(["a", "b"], [1.0, 2.0], [0.9, 0.4], chosen="a", floor=0.5),
    "learning": lambda: learning_curves({"a": {"step": [1, 2], "loss": [1, 0.5], "val_dice": [np.nan, 0.5]}}),
    "silhouette": lambda: silhouette_curve([2, 3, 4], [0.3, 0.2, 0.25], chosen=4, least=3),
    "coverage": lambda: coverage_curve([1.0, 0.5, 0.4], random=RANDOM, asked=2, pool=9, knee=2),
    "covered": lambda: coverage_curve([1.0, 0.5, 0.4], random=RANDOM, asked=3, pool=9),
    "comparison": lambda: coverage_comparison({"a": [1.0, 0.5, 0.4], "b": [0.9, 0.6, 0.5]}, random=RANDOM, pool=9),
    "typicality": lambda: coverage_against_typicality({"a": (0.4, 0.5), "b": (0.9, 0.6)}, ([0.5, 0.4], [0.6, 0.7])),
    "map": lambda: embedding_map(np.eye(5, 2), ranks={3: 1, 4: 2}, clusters=[1, 1, 2, 0, 2], explained=[0.5, 0.2]),
    "sizes": lambda: cluster_sizes(["1", "2"], [7, 3], [2, 1]),
    "many sizes": lambda: cluster_sizes([str(i) for i in range(90)], [2] * 90, [1] * 90),
    "scores": lambda: score_plot({"a": [0.1, 0.9, 0.8], "b": [0.5]}, {"a": (0.6, 0.5, 0.7)}),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_drawing_gives_the_same_figure_twice_and_leaves_the_style_of_others_alone(name: str) -> None:
    before = dict(matplotlib.rcParams)
    figure = DRAWINGS[name]()
    assert isinstance(figure, Figure)
    assert figure_uri(figure) == figure_uri(DRAWINGS[name]())
    assert dict(matplotlib.rcParams) == before


def test_report_needs_no_pyplot_and_importing_it_no_matplotlib() -> None:
    script = (
        "import sys; import bundle.report.pages; assert 'matplotlib' not in sys.modules, 'imported too early'\n"
        "from bundle.report.curves import silhouette_curve; silhouette_curve([2, 3], [0.1, 0.2])\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_coverage_tells_what_is_selected_from_what_would_follow_and_marks_the_knee() -> None:
    (panel,) = DRAWINGS["coverage"]().axes
    labels = [text.get_text() for text in panel.get_legend().get_texts()]
    assert labels == ["random, range", "random, mean", "further", "the 2 selected", "knee: 2 labels"]
    drawn = {line.get_label(): line.get_xydata().tolist() for line in panel.lines}
    assert drawn["the 2 selected"] == [[1, 1.0], [2, 0.5]]
    assert drawn["further"] == [[2, 0.5], [3, 0.4]]
    (panel,) = DRAWINGS["covered"]().axes
    assert "further" not in [text.get_text() for text in panel.get_legend().get_texts()]


def test_every_strategy_of_a_comparison_is_drawn_in_a_look_of_its_own() -> None:
    names = [str(number) for number in range(12)]
    (panel,) = coverage_comparison({name: [1.0, 0.5, 0.4] for name in names}, random=RANDOM, pool=9).axes
    looks = [(line.get_color(), line.get_linestyle()) for line in panel.lines if line.get_label() in names]
    assert len(looks) == len(set(looks)) == 12


def test_silhouette_marks_the_chosen_number() -> None:
    (panel,) = DRAWINGS["silhouette"]().axes
    assert panel.lines[-1].get_xydata().tolist() == [[4, 0.25]]
    assert panel.texts[0].get_text() == "K* = 4"


def test_policies_are_listed_hardest_on_top() -> None:
    left, right = DRAWINGS["policies"]().axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["a", "b"]  # from the bottom up
    assert [bar.get_width() for bar in right.patches] == [0.9, 0.4]


def test_map_writes_every_rank() -> None:
    (panel,) = DRAWINGS["map"]().axes
    assert {"1", "2"} <= {text.get_text() for text in panel.texts}


def test_crossed_runs_share_colour_by_weights_and_dash_by_labels() -> None:
    looks = run_looks(["scratch_random", "warm_random", "warm_selected", "scratch_selected"])
    assert looks["warm_selected"][0] == looks["warm_random"][0] != looks["scratch_random"][0]
    assert looks["warm_selected"][1] == looks["scratch_selected"][1] != looks["warm_random"][1]
    assert len(set(looks.values())) == 4
    assert run_order(looks) == ["warm_selected", "warm_random", "scratch_selected", "scratch_random"]
    assert run_title("scratch_random") == "random weights, randomly drawn labels"


def test_many_other_runs_all_look_different() -> None:
    assert len(set(run_looks([f"run{i}" for i in range(24)]).values())) == 24


def test_cluster_colours_follow_the_cluster_not_the_order() -> None:
    assert cluster_colours([3, 1, 2, 1]) == cluster_colours([1, 2, 3])
    assert all(to_hex(colour) == colour.lower() for colour in cluster_colours(range(9)).values())


def test_running_mean_is_the_mean_of_its_neighbours() -> None:
    values = np.random.default_rng(0).normal(size=30)
    expected = [np.mean(values[i : i + 7]) for i in range(24)]
    np.testing.assert_allclose(running_mean(values, 7), expected)


def test_projection_ignores_the_length_of_vectors() -> None:
    vectors = np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32)
    lengths = np.random.default_rng(2).uniform(0.5, 9.0, size=(40, 1)).astype(np.float32)
    np.testing.assert_allclose(project(vectors)[0], project(vectors * lengths)[0], atol=1e-5)


def test_thumbnail_is_small_and_keeps_its_proportions() -> None:
    uri = thumbnail_uri(np.zeros((300, 600, 1), dtype=np.float32), side=100)
    with Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))) as picture:
        assert picture.size == (100, 50)


def test_cases_are_four_of_each_kind_and_none_twice(tmp_path: Path) -> None:
    images = [{"id": f"p/{i:02d}", "dice": i / 20} for i in range(12)]
    cases = {"worst": images[:8], "median": images[2:10]}
    for kind, chosen in cases.items():
        for place in range(1, len(chosen) + 1):
            Image.new("RGB", (8, 8)).save(tmp_path / f"{kind}_{place:02d}.png")
    tiles = case_tiles(cases, tmp_path, title="a run").tiles
    assert [tile.detail for tile in tiles] == [f"p/{i:02d}" for i in range(8)]
    assert [tile.label for tile in tiles[3:5]] == ["worst · Dice 0.150", "median · Dice 0.200"]


def test_case_without_its_picture_is_left_out(tmp_path: Path) -> None:
    assert not case_tiles({"worst": [{"id": "a", "dice": 0.1}]}, tmp_path, title="a run").tiles


def test_long_selection_shows_its_first_images_and_says_so() -> None:
    rows = [{"rank": rank, "id": str(rank)} for rank in range(1, 200)]
    found = selection_montage(rows, {}, "dermoscopy")
    assert len(found.tiles) == MOST_TILES and "the first 96 of 199" in found.title
    assert [tile.label for tile in found.tiles[:3]] == ["1", "2", "3"]


@pytest.mark.real
def test_page_of_real_images_stays_small(real_data: Path, tmp_path: Path) -> None:
    from bundle.data.reader import read_image

    files = sorted((real_data / "dermoscopy" / "images").glob("*.jpg"))[:120]
    means = [read_image(file, "dermoscopy")[::8, ::8].reshape(-1, 3) for file in files]
    vectors = np.stack([np.concatenate([m.mean(0), m.std(0)]) for m in means])
    embeddings = Embeddings(tuple(file.stem for file in files), vectors - vectors.mean(0))
    page = write_selection_report(
        tmp_path / "page.html",
        selection=select(embeddings, strategy="ca", budget=100, seed=0, k=8),
        embeddings=embeddings,
        image_paths={file.stem: file for file in files},
        modality="dermoscopy",
    )
    assert page.stat().st_size < 2_000_000


def test_a_run_s_name_is_no_formula():
    figure = score_plot({r"a$\foo$": np.array([0.5, 0.75])}, {r"b$^$": (0.5, 0.4, 0.6)})
    figure.savefig(io.BytesIO(), format="png")
