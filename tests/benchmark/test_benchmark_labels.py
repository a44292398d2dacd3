"""The command does what the stages do, survives being killed, and never mixes what differs."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest

from bundle.benchmark.ledger import Ledger
from bundle.benchmark.scoring import Scores
from bundle.commands import run_verb
from bundle.embedding import Embeddings
from bundle.run.record import file_fingerprint


@pytest.fixture(scope="module")
def measured(command, tmp_path_factory):
    """A finished benchmark: 2 starts x 2 strategies x 1 budget x 2 seeds."""
    out = tmp_path_factory.mktemp("measured") / "out"
    assert run_verb("benchmark_labels", command(out, "--budgets", "4", "--seeds", "2")) == 0
    return out


def rows_of(out):
    return Ledger(out).rows()


def test_budgets_given_as_shares_are_in_the_tables(command, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--budgets", "20%", "50%", "all", "--seeds", "2", "--strategies", "random"]
    assert run_verb("benchmark_labels", command(out, *options)) == 0
    shown = capsys.readouterr().out
    budgets = sorted({row["settings"]["labels"] for row in rows_of(out)})
    assert len(budgets) == 3 and "no run with all labels" not in shown
    assert f"| {budgets[0]} | {budgets[1]} |" in shown and "AUBC" in shown
    assert run_verb("benchmark_labels", ["--report", "--out", str(out), *options[:3]]) == 0
    assert f"| {budgets[0]} | {budgets[1]} |" in capsys.readouterr().out


@pytest.mark.parametrize("start", ["all", "taught"])
def test_a_run_has_the_labels_and_the_scores_of_select_train_and_evaluate(
    measured, command, pretrained, tmp_path, start
):
    if start == "taught":
        measured = shutil.copytree(measured, tmp_path / "measured")
        options = ["--budgets", "4", "--seeds", "2", "--strategies", "coldstart", "--starts", "taught"]
        assert run_verb("benchmark_labels", command(measured, *options)) == 0
    weights = str(pretrained / "model_ssl_pretrained.pt")
    datalist = str(measured / "datalist.json")
    found = next(
        row
        for row in rows_of(measured)
        if (row["settings"]["strategy"], row["settings"]["start"], row["settings"]["seed"]) == ("coldstart", start, 1)
    )
    chosen = tmp_path / "selection"
    select = ["--datalist", datalist, "--weights", weights, "--budget", "4", "--seed", "1", "--out", str(chosen)]
    assert run_verb("select_samples", select) == 0
    with (chosen / "selection.csv").open(encoding="utf-8") as handle:
        assert [row["id"] for row in csv.DictReader(handle)] == found["results"]["selected"]
    train = ["--datalist", str(chosen / "selection.json"), "--ssl-weights", weights, "--seed", "1"]
    knobs = ["--set", "epochs=2", "--set", "epoch_length=3", "--set", "batch_size=4"]
    model = tmp_path / "train" / "model.pt"
    assert run_verb("train", [*train, *knobs, "--out", str(model.parent)]) == 0
    if start == "taught":
        taught = ["--teacher", str(model), "--out", str(tmp_path / "student")]
        assert run_verb("train", [*train, *knobs, *taught]) == 0
        model = tmp_path / "student" / "model.pt"
    evaluate = ["--datalist", datalist, "--model", str(model)]
    assert run_verb("evaluate", [*evaluate, "--out", str(tmp_path / "scores")]) == 0

    scores = Ledger(measured).scores(found["run"])
    with (tmp_path / "scores" / "per_image.csv").open(encoding="utf-8") as handle:
        evaluated = list(csv.DictReader(handle))
    assert scores.ids == tuple(row["id"] for row in evaluated)
    assert scores.dice == pytest.approx([float(row["dice"]) for row in evaluated], abs=1e-5)
    assert scores.jaccard == pytest.approx([float(row["jaccard"]) for row in evaluated], abs=1e-5)
    assert found["results"]["dice"] == pytest.approx(
        json.loads((tmp_path / "scores" / "summary.json").read_text(encoding="utf-8"))["dice"]["mean"], abs=1e-5
    )


def test_every_cell_is_there_once_and_the_table_says_the_same(measured):
    cells = [
        tuple(row["settings"][name] for name in ("seed", "start", "strategy", "labels")) for row in rows_of(measured)
    ]
    assert sorted(cells) == sorted(
        (seed, start, strategy, 4)
        for seed in (0, 1)
        for start in ("none", "all")
        for strategy in ("random", "coldstart")
    )
    with (measured / "results.csv").open(encoding="utf-8") as handle:
        table = {row["run"]: row for row in csv.DictReader(handle)}
    for row in rows_of(measured):
        assert float(table[row["run"]]["dice"]) == row["results"]["dice"]
        assert 0 <= row["results"]["jaccard"] <= row["results"]["dice"] <= 1 and 0 <= row["results"]["ece"] <= 1
        assert row["results"]["test_images"] == 4 and len(set(row["results"]["selected"])) == 4
    assert not list((measured / "claims").iterdir())


def test_runs_of_one_seed_share_their_labels_across_starts(measured):
    labels = {}
    for row in rows_of(measured):
        settings = row["settings"]
        labels.setdefault((settings["strategy"], settings["seed"]), set()).add(tuple(row["results"]["selected"]))
    assert all(len(found) == 1 for found in labels.values())
    assert labels["random", 0] != labels["random", 1]


def test_what_is_done_is_not_done_again_and_another_setting_is_another_run(measured, command):
    before = {path: path.stat().st_mtime_ns for path in (measured / "rows").iterdir()}
    assert run_verb("benchmark_labels", command(measured, "--budgets", "4", "--seeds", "2")) == 0
    assert {path: path.stat().st_mtime_ns for path in (measured / "rows").iterdir()} == before
    faster = ["--budgets", "4", "--seeds", "1", "--starts", "none", "--strategies", "random"]
    assert run_verb("benchmark_labels", command(measured, *faster, "--set", "learning_rate=0.002")) == 0
    after = {path: path.stat().st_mtime_ns for path in (measured / "rows").iterdir()}
    assert len(after) == len(before) + 1 and before.items() <= after.items()
    for path in after.keys() - before.keys():
        path.unlink()


def test_a_benchmark_that_was_stopped_goes_on(command, tmp_path, monkeypatch):
    from bundle.benchmark import runner

    real, calls = runner.train, []

    def train(*args, **kwargs):
        calls.append(kwargs["seed"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(runner, "train", train)
    options = command(tmp_path, "--budgets", "3", "--seeds", "2", "--starts", "none", "--strategies", "random")
    assert run_verb("benchmark_labels", options) == 130
    assert len(rows_of(tmp_path)) == 1
    assert run_verb("benchmark_labels", options) == 0
    assert len(rows_of(tmp_path)) == 2 and calls == [0, 1, 1]


def test_controls_redundant_pools_and_all_labels_are_rows_of_their_own(command, tmp_path):
    warm = ["--seeds", "1", "--starts", "all"]
    assert run_verb("benchmark_labels", command(tmp_path, *warm, "--budgets", "3", "all")) == 0
    assert run_verb("benchmark_labels", command(tmp_path, *warm, "--budgets", "3", "--control", "shuffle")) == 0
    redundant = ["--pool", "redundant", "--budgets", "25%", "--strategies", "coldstart", "--hd95"]
    assert run_verb("benchmark_labels", command(tmp_path, *warm, *redundant)) == 0
    with (tmp_path / "results.csv").open(encoding="utf-8") as handle:
        found = [
            tuple(row[name] for name in ("labels", "strategy", "pool", "control", "hd95"))
            for row in csv.DictReader(handle)
        ]
    assert {row[:4] for row in found} == {
        ("3", "random", "curated", "none"),
        ("3", "coldstart", "curated", "none"),
        ("12", "all labels", "curated", "none"),
        ("3", "coldstart", "curated", "shuffle"),
        ("6", "coldstart", "redundant", "none"),
    }
    assert len(found) == 5
    assert [float(row[4]) > 0 for row in found if row[2] == "redundant"] == [True]


def test_given_vectors_decide_and_each_seed_chooses_from_its_own_candidates(command, public_set, tmp_path):
    """On a line of vectors, greedy k-median takes the medoid first: known from what each seed may choose from."""
    with (public_set / "split.csv").open(encoding="utf-8") as handle:
        pool = sorted(row["id"] for row in csv.DictReader(handle) if row["split"] == "pool")
    angles = np.linspace(0, 1.5, len(pool))
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    vector_of = dict(zip(pool, vectors, strict=True))
    Embeddings(tuple(pool), vectors).save(tmp_path / "mine")
    own = ["--embeddings", str(tmp_path / "mine"), "--candidates", "5", "--seeds", "3", "--starts", "all"]
    assert run_verb("benchmark_labels", command(tmp_path / "out", *own, "--budgets", "5", "1", "all")) == 0
    rows = rows_of(tmp_path / "out")
    chosen = {(r["settings"]["seed"], r["settings"]["labels"], r["settings"]["strategy"]): r for r in rows}
    picks = {cell: row["results"]["selected"] for cell, row in chosen.items()}
    for seed in range(3):
        candidates = sorted(picks[seed, 5, "coldstart"])
        assert sorted(picks[seed, 5, "random"]) == candidates, "both choose from the same five, so they take all"
        assert picks[seed, 1, "coldstart"] == [_medoid(candidates, vector_of)]
    assert len({tuple(sorted(picks[seed, 5, "random"])) for seed in range(3)}) > 1
    assert all("candidates" not in r["settings"]["pool"] for r in rows if r["settings"]["strategy"] is None)
    assert "[5 candidates, given]" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def _medoid(ids, vector_of):
    """The id whose summed Euclidean distance to the others is least."""
    sums = {}
    for one in ids:
        sums[one] = 0.0
        for other in ids:
            sums[one] += float(np.linalg.norm(vector_of[one] - vector_of[other]))
    return min(sums, key=sums.get)


def test_held_back_images_are_of_the_pool_and_none_is_learned_from(command, public_set, tmp_path):
    with (public_set / "split.csv").open(encoding="utf-8") as handle:
        pool = {row["id"] for row in csv.DictReader(handle) if row["split"] == "pool"}
    held = ["--held-back", "25%", "--seeds", "1", "--starts", "none", "--strategies", "random", "--budgets", "9"]
    assert run_verb("benchmark_labels", command(tmp_path, *held)) == 0
    (scores,) = (Scores.load(path) for path in (tmp_path / "scores").iterdir())
    assert len(scores.ids) == 3 and set(scores.ids) < pool
    assert rows_of(tmp_path)[0]["settings"]["pool"]["images"] == 9


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--budgets", "13"], "from 1 to the 12 images"),
        (["--budgets", "7", "--candidates", "50%"], "from 1 to the 6 images"),
        (["--candidates", "13"], "--candidates must be from 1 to the 12 images"),
        (["--held-back", "a fifth"], "--held-back must be a number of images or a share"),
        (["--held-back", "100%"], "cannot be held back"),
        (["--embeddings", "/nowhere"], "holds no embeddings"),
        (["--steps", "7"], "multiple of 3"),
        (["--seeds", "0"], "at least 1"),
        (["--strategies", "coldstrat"], "did you mean 'coldstart'"),
        (["--strategies", "ca:q=2"], "no option 'q'"),
        (["--set", "learning_rte=1"], "did you mean 'learning_rate'"),
    ],
)
def test_a_wrong_request_is_refused_before_any_training(command, tmp_path, capsys, options, told):
    assert run_verb("benchmark_labels", command(tmp_path, *options)) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "rows").exists()


def test_without_weights_the_pool_is_pretrained_on_once(command, tmp_path):
    options = command(tmp_path, "--budgets", "3", "--seeds", "1", "--strategies", "random", "--pretrain-steps", "2")
    place = options.index("--ssl-weights")
    del options[place : place + 2]
    assert run_verb("benchmark_labels", [*options, "--starts", "none"]) == 0
    assert not (tmp_path / "pretrain").exists(), "random labels from random weights need none"
    assert run_verb("benchmark_labels", [*options, "--starts", "encoder"]) == 0
    (weights,) = (tmp_path / "pretrain").rglob("model_ssl_pretrained.pt")
    before = weights.stat().st_mtime_ns
    assert run_verb("benchmark_labels", [*options, "--starts", "encoder", "--strategies", "coldstart"]) == 0
    assert weights.stat().st_mtime_ns == before
    warm = {row["settings"]["start_weights"] for row in rows_of(tmp_path)} - {None}
    assert warm == {file_fingerprint(weights)}


def test_a_folder_of_another_set_is_refused(measured, command, public_set, tmp_path, capsys):
    shutil.copytree(public_set, tmp_path / "moved")
    options = command(measured)
    options[options.index(str(public_set))] = str(tmp_path / "moved")
    assert run_verb("benchmark_labels", options) == 2
    assert "give another --out" in capsys.readouterr().err


def test_a_run_that_cannot_be_made_is_told_and_the_others_are_made(command, tmp_path, capsys):
    options = ["--budgets", "3", "--seeds", "1", "--starts", "none", "--strategies", "random", "ca:k=0"]
    assert run_verb("benchmark_labels", command(tmp_path, *options)) == 0
    assert "1 of 2 runs cannot be made" in capsys.readouterr().err
    assert [row["settings"]["strategy"] for row in rows_of(tmp_path)] == ["random"]
