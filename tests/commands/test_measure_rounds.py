"""The comparison of ways to spend labels, on a dozen images."""

from __future__ import annotations

import csv
import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from bundle.benchmark.candidates import draw_candidates
from bundle.benchmark.claims import Claims
from bundle.benchmark.rounds import ONE_SHOT
from bundle.commands import measure_rounds, run_verb
from bundle.commands.measure_rounds import Recipe

TINY = ["--set", "epochs=1", "--set", "epoch_length=1", "--set", "batch_size=2"]


@pytest.fixture
def arguments(hospital, pretrained, tmp_path):
    """Random rounds, 3 labels and 1 round of 2, 2 seeds, into ``out`` of the test's own folder."""
    with (hospital.root / "split.csv").open("w") as file:
        file.write("id,split\n" + "".join(f"spot_{i:02d},{'test' if i < 2 else 'pool'}\n" for i in range(16)))
    place = ["--data", str(hospital.root), "--modality", str(hospital.modality), "--out", str(tmp_path / "out"), *TINY]
    size = ["--initial", "3", "--rounds", "1", "--per-round", "2", "--seeds", "2", "--steps", "40"]
    weights = ["--ssl-weights", str(pretrained / "model_ssl_pretrained.pt")]
    return [*place, *size, *weights, "--recipes", "random"]


def test_every_recipe_has_the_same_seeds_and_a_row_a_round_and_goes_on_where_it_was(arguments, tmp_path, capsys):
    out = tmp_path / "out"
    assert run_verb("measure_rounds", arguments) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[-1] == str(out / "rounds.csv") and any(line.startswith("| random | one-shot |") for line in shown)
    with (out / "rounds.csv").open(newline="") as handle:
        rows = [(row["recipe"], row["seed"], row["round"], row["labels"]) for row in csv.DictReader(handle)]
    per_seed = [(ONE_SHOT, "0", "5"), ("random", "0", "3"), ("random", "1", "5")]
    assert sorted(rows) == sorted((name, str(seed), *rest) for seed in range(2) for name, *rest in per_seed)
    summary = json.loads((out / "summary.json").read_text())
    assert {name: m["n"] for name, m in summary["means"].items()} == {"random": 2, ONE_SHOT: 2}

    before = (out / "runs/random_seed0/rounds/1/train/model.pt").stat().st_mtime_ns
    assert run_verb("measure_rounds", arguments) == 0
    assert (out / "runs/random_seed0/rounds/1/train/model.pt").stat().st_mtime_ns == before
    assert run_verb("measure_rounds", [*arguments, "--initial", "4"]) == 2


def test_an_image_without_a_mask_is_never_chosen_and_too_few_are_told_at_once(arguments, hospital, tmp_path, capsys):
    data = tmp_path / "data"
    shutil.copytree(hospital.images, data / "images")
    shutil.copytree(hospital.masks, data / "masks")
    shutil.copy(hospital.root / "split.csv", data)
    for number in range(4, 11):
        (data / "masks" / f"spot_{number:02d}.png").unlink()
    arguments = [*arguments, "--data", str(data), "--seeds", "1"]
    assert run_verb("measure_rounds", [*arguments, "--rounds", "3", "--out", str(tmp_path / "more")]) == 2
    assert "9 labels are asked for, and 7 images of the pool have a mask" in capsys.readouterr().err
    assert run_verb("measure_rounds", arguments) == 0
    chosen = [json.loads(path.read_text())["training"] for path in (tmp_path / "out").glob("*_*/selection.json")]
    assert len(chosen) == 2 and all("label" in entry for entries in chosen for entry in entries)


def test_every_seed_chooses_from_its_own_share_of_the_pool(arguments, tmp_path, capsys):
    out = tmp_path / "out"
    assert run_verb("measure_rounds", [*arguments, "--candidates", "50%"]) == 0
    pool = [f"spot_{i:02d}" for i in range(2, 16)]
    shares = [set(draw_candidates(pool, 7, seed=seed)) for seed in range(2)]
    assert shares[0] != shares[1]
    for seed, share in enumerate(shares):
        for labels, run in ((5, ONE_SHOT), (3, "random")):
            start = json.loads((out / f"coldstart_{labels}_share{seed}" / "selection.json").read_text())["training"]
            state = json.loads((out / "runs" / f"{run}_seed{seed}" / "rounds.json").read_text())
            asked = {name for one in state["rounds"] for name in one["queried"]}
            assert {entry["id"] for entry in start} <= asked <= share and len(asked) == 5
    capsys.readouterr()
    assert run_verb("measure_rounds", [*arguments, "--candidates", "4", "--out", str(tmp_path / "few")]) == 2
    assert "--candidates must be from the 5 labels asked for to the 14 images with a mask, got 4" in (
        capsys.readouterr().err
    )


def test_recipes_of_earlier_calls_are_in_no_family_of_this_one(arguments, tmp_path):
    arguments = [*arguments, "--seeds", "1"]
    for recipe in ("random", "kcenter"):
        assert run_verb("measure_rounds", [*arguments, "--recipes", recipe]) == 0
    out = tmp_path / "out"
    assert {row["recipe"] for row in json.loads((out / "summary.json").read_text())["comparisons"]} == {"kcenter"}
    with (out / "rounds.csv").open(newline="") as handle:
        assert {row["recipe"] for row in csv.DictReader(handle)} == {ONE_SHOT, "random", "kcenter"}


def test_a_run_that_another_process_is_at_is_left_to_it_and_taken_when_it_gives_up(arguments, tmp_path, monkeypatch):
    monkeypatch.setattr(measure_rounds, "PATIENCE", 0.1)
    arguments, out = [*arguments, "--seeds", "1"], tmp_path / "out"
    assert run_verb("measure_rounds", [*arguments, "--recipes", "typiclust"]) == 0  # so that the folder is its own
    with ThreadPoolExecutor() as pool, Claims(out / "claims").hold("random_seed0"):
        running = pool.submit(run_verb, "measure_rounds", arguments)
        time.sleep(2)
        assert not running.done() and not (out / "runs" / "random_seed0").exists()
        next((out / "claims").glob("random_seed0.*")).unlink()  # as one that is dead is passed over
        assert running.result(timeout=300) == 0
    assert (out / "rows" / "random_seed0.json").is_file()


def test_a_recipe_is_a_strategy_with_options_of_rounds():
    recipe = Recipe.parse("bald:weak_from=2,diversity=coverage")
    assert recipe == Recipe("bald", (("diversity", "coverage"), ("weak_from", "2")))
    assert str(recipe) == "bald:diversity=coverage,weak_from=2" and Recipe.parse(str(recipe)) == recipe
    for text, told in (
        ("bold", "unknown"),
        ("bald:seed=2", "an option is NAME=VALUE"),
        ("bald:weak_from", "got 'weak"),
    ):
        with pytest.raises(ValueError, match=told):
            Recipe.parse(text)
