"""The command: a datalist and embeddings in, a folder with the ranked list out."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from bundle.commands import run_verb
from bundle.commands.select_samples import parse_budget, parse_options, read_ids
from bundle.data.datalist import Datalist, load_datalist
from bundle.embedding import Embeddings

from .pools import clustered_pool


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with 64 images, a datalist that has 4 of them in validation, 2 in a test, and the embeddings of all."""
    place = tmp_path_factory.mktemp("run")
    ids, vectors, cluster = clustered_pool((24, 16, 12, 8, 4))
    (place / "images").mkdir()
    entries = []
    for identifier, c in zip(ids, cluster, strict=True):
        Image.new("RGB", (12, 10), (40 * int(c), 90, 120)).save(place / "images" / f"{identifier}.png")
        entries.append({"id": identifier, "image": f"{identifier}.png"})
    entries[10]["group"] = entries[4]["group"] = "patient-1"  # 4 is in validation, so 10 may not be selected
    sections = {"pool": tuple(entries[2:]), "training": tuple(entries[6:9]), "validation": tuple(entries[2:6])}
    Datalist("dermoscopy", place / "images", None, {**sections, "test": tuple(entries[:2])}).save(
        place / "datalist.json"
    )
    Embeddings(ids, vectors).save(place / "embeddings")
    return place


def run(place: Path, out: Path, *arguments: str) -> int:
    base = ["--datalist", f"{place}/datalist.json", "--embeddings", f"{place}/embeddings", "--out", f"{out}"]
    return run_verb("select_samples", [*base, *arguments])


def table(out: Path) -> list[dict[str, str]]:
    with (out / "selection.csv").open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_writes_the_ranked_list_the_datalist_and_what_explains_them(place, tmp_path, capsys):
    out = tmp_path / "selection"
    assert run(place, out, "--budget", "20%", "--seed", "3") == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == str(out)
    assert (
        printed[0] == "11 of 57 images by ca"
    )  # 64 less 2 test, 4 validation, 1 of a validation patient; 20 % is 11.4
    assert printed[1].startswith("K = 5 clusters: best silhouette")

    rows = table(out)
    assert list(rows[0]) == ["rank", "id", "image", "cluster", "score", "reason"]
    assert [row["rank"] for row in rows] == [str(rank) for rank in range(1, 12)]
    assert all(Path(row["image"]).is_file() and Path(row["image"]).stem == row["id"] for row in rows)
    assert sorted(row["id"] for row in rows) == load_datalist(out / "selection.json").ids("training")
    diagnostics = json.loads((out / "diagnostics.json").read_text(encoding="utf-8"))
    assert diagnostics["strategy"] == "ca" and diagnostics["seed"] == 3 and diagnostics["k"] == 5
    assert len(diagnostics["clusters"]) == 57
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert record["seed"] == 3 and record["settings"]["options"]["start"] == "medoid"
    assert set(record["fingerprints"]) == {"datalist", "embeddings"}
    assert rows[0]["id"] in (out / "report.html").read_text(encoding="utf-8")


def test_never_selects_validation_test_or_their_patients_even_at_full_budget(place, tmp_path):
    assert run(place, tmp_path / "all", "--strategy", "random", "--budget", "100%") == 0
    found = {row["id"] for row in table(tmp_path / "all")}
    assert len(found) == 57
    assert not found & {f"image_{i:05d}" for i in (0, 1, 2, 3, 4, 5, 10)}


def test_known_labels_count_only_when_told_so_and_stay_in_training(place, tmp_path):
    training = set(load_datalist(place / "datalist.json").ids("training"))
    assert run(place, tmp_path / "a", "--strategy", "random", "--budget", "57") == 0
    assert training <= {row["id"] for row in table(tmp_path / "a")}
    assert run(place, tmp_path / "b", "--strategy", "random", "--budget", "54", "--already-labelled", "training") == 0
    found = {row["id"] for row in table(tmp_path / "b")}
    assert not training & found
    assert set(load_datalist(tmp_path / "b" / "selection.json").ids("training")) == training | found


def test_a_second_round_goes_on_where_the_first_ended(place, tmp_path):
    assert run(place, tmp_path / "both", "--budget", "20") == 0
    assert run(place, tmp_path / "one", "--budget", "8") == 0
    first = str(tmp_path / "one" / "selection.csv")
    assert run(place, tmp_path / "two", "--budget", "12", "--already-labelled", first) == 0
    rounds = [row["id"] for row in table(tmp_path / "one") + table(tmp_path / "two")]
    assert rounds == [row["id"] for row in table(tmp_path / "both")]


def test_excluded_ids_are_left_out(place, tmp_path):
    (tmp_path / "bad.txt").write_text("image_00020\n\nimage_00021\n", encoding="utf-8")
    assert run(place, tmp_path / "x", "--strategy", "random", "--budget", "55", "--exclude", f"{tmp_path}/bad.txt") == 0
    assert not {"image_00020", "image_00021"} & {row["id"] for row in table(tmp_path / "x")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget", "58"], "from 1 to 57"),
        (["--budget", "0%"], "up to 100 %"),
        (["--budget", "many"], "got 'many'"),
        (["--budget", "5", "--strategy", "cca"], "did you mean 'ca'"),
        (["--budget", "5", "--option", "k_mim=4"], "did you mean 'k_min'"),
        (["--budget", "5", "--option", "k"], "key=value"),
        (["--budget", "5", "--section", "test"], "budget must be"),
        (["--budget", "5", "--already-labelled", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(place, tmp_path, capsys, arguments, message):
    assert run(place, tmp_path / "out", *arguments) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("select_samples: ") and message in error
    assert not list(tmp_path.iterdir())


def test_a_labelled_id_that_the_datalist_does_not_know_is_refused(place, tmp_path, capsys):
    (tmp_path / "ids.csv").write_text("rank,id\n1,image_00020\n2,image_2\n", encoding="utf-8")
    assert run(place, tmp_path / "out", "--budget", "5", "--already-labelled", f"{tmp_path}/ids.csv") == 2
    assert "1 of 2 ids are not in the datalist, first 'image_2'" in capsys.readouterr().err


def test_an_existing_folder_is_replaced_only_when_asked_for(place, tmp_path, capsys):
    arguments = ["--strategy", "random", "--budget", "3"]
    assert run(place, tmp_path / "out", *arguments) == 0
    assert run(place, tmp_path / "out", *arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run(place, tmp_path / "out", *arguments, "--overwrite", "--seed", "1") == 0


def test_images_without_an_embedding_are_counted_and_passed_by(place, tmp_path, caplog):
    embeddings = Embeddings.load(place / "embeddings")
    embeddings.subset(embeddings.ids[10:]).save(tmp_path / "some")
    arguments = ["--datalist", f"{place}/datalist.json", "--embeddings", f"{tmp_path}/some", "--out", f"{tmp_path}/out"]
    assert run_verb("select_samples", [*arguments, "--strategy", "random", "--budget", "53"]) == 0
    assert "8 of the section's 62 images have no embedding" in caplog.text


def test_strategy_help_lists_every_strategy_without_further_options():
    found = subprocess.run(
        [sys.executable, "-m", "scripts.select_samples", "--strategy", "help"],
        capture_output=True,
        text=True,
        check=True,
    )
    names = [line.split()[0] for line in found.stdout.splitlines() if line]
    assert {"ca", "saal", "kmeans", "random"} <= set(names)


@pytest.mark.parametrize(
    ("text", "pool", "budget"),
    [("30", 100, 30), ("25%", 2075, 518), ("10 %", 2075, 207), ("29%", 100, 29), ("1%", 20, 1), ("0.5%", 1000, 5)],
)
def test_a_share_is_rounded_down_but_is_one_image_at_least(text, pool, budget):
    assert parse_budget(text, pool) == budget


@pytest.mark.parametrize("text", ["", "%", "101%", "-5%", "nan%", "3.5", "1e2"])
def test_a_budget_that_means_nothing_is_refused(text):
    with pytest.raises(ValueError, match="--budget must be"):
        parse_budget(text, 100)


def test_options_have_the_types_that_yaml_gives_them():
    pairs = ["k=8", "start=farthest", "normalise=false", "k_min=null"]
    assert parse_options(pairs) == {"k": 8, "start": "farthest", "normalise": False, "k_min": None}


@pytest.mark.parametrize(
    "content", ["a/1\nb 2\n", "a/1\r\n\r\nb 2", "\ufeffid,rank\na/1,1\nb 2,2\n", 'rank,id\n1,a/1\n2,"b 2"\n']
)
def test_ids_are_read_from_lines_or_from_a_column(tmp_path, content):
    (tmp_path / "ids").write_bytes(content.encode())
    assert read_ids(tmp_path / "ids") == ["a/1", "b 2"]


def test_a_file_without_ids_is_refused(tmp_path):
    (tmp_path / "ids").write_text("id,rank\n", encoding="utf-8")
    with pytest.raises(ValueError, match="holds none"):
        read_ids(tmp_path / "ids")
