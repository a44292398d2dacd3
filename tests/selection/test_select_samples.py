"""The command: a datalist and embeddings in, a folder with the ranked list out."""

from __future__ import annotations

import csv
import html
import json
from pathlib import Path

import pytest
from PIL import Image

from bundle.commands import run_verb
from bundle.commands.options import parse_budget, parse_options
from bundle.data.datalist import Datalist, load_datalist
from bundle.data.id_lists import known_ids, read_ids
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
    assert run(place, out, "--strategy", "ca", "--budget", "20%", "--seed", "3") == 0
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


def test_an_excluded_image_is_not_trained_on_though_it_is_labelled(place, tmp_path):
    (tmp_path / "known.txt").write_text("image_00020\nimage_00021\n", encoding="utf-8")
    (tmp_path / "bad.txt").write_text("image_00020\n", encoding="utf-8")
    files = ["--already-labelled", f"{tmp_path}/known.txt", "--exclude", f"{tmp_path}/bad.txt"]
    assert run(place, tmp_path / "out", "--strategy", "random", "--budget", "3", *files) == 0
    training = load_datalist(tmp_path / "out" / "selection.json").ids("training")
    assert "image_00021" in training and "image_00020" not in training and len(training) == 4


@pytest.mark.parametrize("strategy", ["coldstart", "ca"])
def test_the_map_shows_the_images_that_could_be_chosen_and_no_excluded_ones(place, tmp_path, monkeypatch, strategy):
    from bundle.report import selection_part

    shown, project = [], selection_part.project
    monkeypatch.setattr(selection_part, "project", lambda vectors: shown.append(len(vectors)) or project(vectors))
    assert run(place, tmp_path / "out", "--strategy", strategy, "--budget", "5") == 0
    assert shown == [57]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget", "58"], "from 1 to 57"),
        (["--budget", "0%"], "up to 100 %"),
        (["--budget", "many"], "got 'many'"),
        (["--budget", "5", "--strategy", "cca"], "did you mean 'ca'"),
        (["--budget", "5", "--strategy", "ca", "--option", "k_mim=4"], "did you mean 'k_min'"),
        (["--budget", "5", "--option", "k"], "key=value"),
        (["--budget", "5", "--section", "test"], "budget must be"),
        (["--budget", "5", "--already-labelled", "nowhere.csv"], "nowhere.csv"),
        (["--budget", "5", "--compare", "ca"], "two or more"),
        (["--budget", "5", "--compare", "ca,ca"], "two or more"),
        (["--budget", "5", "--compare", "ca,saa"], "did you mean 'saal'"),
        (["--budget", "58", "--compare", "ca,saal"], "from 1 to 57"),
        (["--budget", "5", "--compare", "ca,saal", "--option", "k=4"], "ca.KEY=VALUE"),
        (["--budget", "5", "--compare", "ca,saal", "--option", "ca.k_mim=4"], "did you mean 'k_min'"),
        (["--budget", "5", "--compare", "kcenter,ca", "--option", "ca.k=0"], "option k must be a whole number"),
        (["--budget", "5", "--compare", "ca,saal", "--copy-to", "copies"], "--compare makes none"),
        (["--budget", "5", "--link"], "--link needs --copy-to"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(place, tmp_path, capsys, arguments, message):
    assert run(place, tmp_path / "out", *arguments) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("select_samples: ") and message in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("where", ["out", "out/copies", "images", "images/copies", ""])
def test_copies_lie_apart_from_the_images_and_from_the_selection(place, tmp_path, capsys, where):
    base = place if where.startswith("images") else tmp_path
    arguments = ["--budget", "5", "--copy-to", f"{base / where}"]
    assert run(place, tmp_path / "out", *arguments) == 2
    assert "must lie apart" in capsys.readouterr().err and not list(tmp_path.iterdir())


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


@pytest.mark.parametrize(("word", "shown"), [("help", "saal"), ("help:saal", "k=10"), ("help:nothing", "unknown")])
def test_strategy_help_needs_no_further_options(word, shown, capsys):
    with pytest.raises(SystemExit) as end:
        run_verb("select_samples", ["--strategy", word])
    said = capsys.readouterr()
    assert end.value.code == (2 if word == "help:nothing" else 0)
    assert shown in (said.err if end.value.code else said.out)


def test_says_how_many_are_enough_and_when_to_stop_and_keeps_it(place, tmp_path, capsys):
    assert run(place, tmp_path / "out", "--strategy", "saal", "--budget", "10") == 0
    printed = capsys.readouterr().out
    noted = json.loads((tmp_path / "out" / "diagnostics.json").read_text(encoding="utf-8"))["coverage"]
    assert noted["asked"] == noted["further"] == 10 and noted["pool"] == 57
    assert all(sentence in printed.splitlines() for sentence in noted["in_words"])
    assert "a proxy" in noted["in_words"][1]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert all(html.escape(sentence[1:]) in page for sentence in noted["in_words"])


def test_a_selection_of_everything_and_one_that_is_not_nested_tell_nothing_beyond(place, tmp_path):
    for number, arguments in enumerate((["--budget", "57"], ["--budget", "6", "--strategy", "kmeans"])):
        assert run(place, tmp_path / str(number), *arguments) == 0
        diagnostics = json.loads((tmp_path / str(number) / "diagnostics.json").read_text(encoding="utf-8"))
        assert diagnostics["coverage"]["further"] == 0


def test_compares_strategies_beside_random_draws_and_selects_nothing(place, tmp_path, capsys):
    out = tmp_path / "comparison"
    assert run(place, out, "--compare", "ca, saal,random", "--budget", "8", "--option", "ca.k=3") == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "comparison.csv",
        "comparison.json",
        "report.html",
        "run.json",
    ]
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed[1:4]] == ["ca", "saal", "random"] and printed[-1] == str(out)
    content = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    assert content["selections"]["ca"]["options"]["k"] == 3 and content["candidates"] == 57
    with (out / "comparison.csv").open(newline="", encoding="utf-8") as handle:
        rows = {row["strategy"]: row for row in csv.DictReader(handle)}
    assert list(rows) == ["ca", "saal", "random", "random draws"]
    chosen = {name: set(found["ids"]) for name, found in content["selections"].items()}
    assert int(rows["ca"]["shared_saal"]) == len(chosen["ca"] & chosen["saal"])
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") == 3 * 8
    assert run(place, tmp_path / "ca", "--strategy", "ca", "--budget", "8", "--option", "k=3") == 0
    assert {row["id"] for row in table(tmp_path / "ca")} == chosen["ca"]


@pytest.mark.parametrize("link", [False, True])
def test_selected_images_are_copied_or_linked_in_their_order(place, tmp_path, link, capsys):
    copies = tmp_path / "to_annotate"
    arguments = ["--strategy", "random", "--budget", "3", "--copy-to", f"{copies}", *(["--link"] if link else [])]
    assert run(place, tmp_path / "out", *arguments) == 0
    rows = table(tmp_path / "out")
    expected = [f"{int(row['rank']):04d}_{row['id']}.png" for row in rows]
    assert sorted(path.name for path in copies.iterdir()) == [*expected, "images.csv", "run.json"]
    assert all((copies / name).is_symlink() == link for name in expected)
    assert all(
        (copies / n).read_bytes() == Path(row["image"]).read_bytes() for n, row in zip(expected, rows, strict=True)
    )
    assert str(place) not in (copies / "run.json").read_text() + (copies / "images.csv").read_text()
    assert f"{copies}: 3 images" in capsys.readouterr().out
    assert run(place, tmp_path / "out", *arguments) == 2
    assert run(place, tmp_path / "out", *arguments, "--overwrite") == 0


def test_copies_never_replace_what_no_selection_has_copied(place, tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "only_copy.jpg").write_text("pixels")
    arguments = ["--strategy", "random", "--budget", "3", "--copy-to", f"{photos}", "--overwrite"]
    assert run(place, tmp_path / "out", *arguments) == 2
    assert "is not replaced" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["photos"] and (photos / "only_copy.jpg").is_file()


def test_overwrite_never_removes_the_folder_of_another_stage(place, tmp_path, capsys):
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    (run_folder / "run.json").write_text('{"stage": "make_datalist"}')
    (run_folder / "identity.key").write_text("secret")
    assert run(place, run_folder, "--strategy", "random", "--budget", "3", "--overwrite") == 2
    assert "stage select_samples" in capsys.readouterr().err and (run_folder / "identity.key").is_file()


@pytest.mark.parametrize(
    "stop",
    ["bundle.selection.select", "bundle.commands.select_samples.write_selection", "bundle.data.handover.hand_over"],
)
def test_an_interrupt_leaves_nothing_half_written_and_what_was_there_before(place, tmp_path, monkeypatch, stop):
    arguments = ["--strategy", "random", "--budget", "3", "--copy-to", f"{tmp_path}/copies", "--overwrite"]
    assert run(place, tmp_path / "out", *arguments) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def interrupted(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stop, interrupted)
    assert run(place, tmp_path / "out", *arguments, "--seed", "9") == 130
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert run(place, tmp_path / "new", *arguments[:4], "--copy-to", f"{tmp_path}/fresh") == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copies", "out"]


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


@pytest.mark.parametrize(
    "content",
    ['["a/1", "b 2"]', '{"pool": [{"id": "c"}], "training": [{"id": "a/1", "image": "a.png"}, {"id": "b 2"}]}'],
)
def test_ids_are_read_from_a_json_list_or_the_training_section_of_a_datalist(tmp_path, content):
    (tmp_path / "ids.json").write_text(content, encoding="utf-8")
    assert read_ids(tmp_path / "ids.json") == ["a/1", "b 2"]


@pytest.mark.parametrize(
    "content", ["{}", '{"training": []}', "[1, 2]", '{"training": [{"image": "a"}]}', "a/1\n", "3"]
)
def test_json_that_holds_no_ids_is_refused_with_the_forms_there_are(tmp_path, content):
    (tmp_path / "ids.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"ids\.json must hold one id a line, .* or a datalist"):
        read_ids(tmp_path / "ids.json")


def test_a_second_round_takes_the_datalist_of_the_first(place, tmp_path):
    assert run(place, tmp_path / "one", "--budget", "8") == 0
    for form in ("selection.csv", "selection.json"):
        known = ["--already-labelled", str(tmp_path / "one" / form)]
        assert run(place, tmp_path / form, "--budget", "4", *known) == 0
    assert table(tmp_path / "selection.json") == table(tmp_path / "selection.csv")


@pytest.mark.parametrize("content", [" a \n\tb\n  c\n \n", 'id,rank\n" a ",1\n"b ",2\n"  c",3\n'])
def test_blanks_around_an_id_count_only_where_the_datalist_has_them(tmp_path, content):
    entries = tuple({"id": name, "image": f"{number}.png"} for number, name in enumerate(("a", "b", "  c")))
    (tmp_path / "ids").write_text(content, encoding="utf-8")
    datalist = Datalist("dermoscopy", tmp_path, None, {"pool": entries})
    assert known_ids(tmp_path / "ids", datalist) == {"a", "b", "  c"}


def test_a_file_without_ids_is_refused(tmp_path):
    (tmp_path / "ids").write_text("id,rank\n", encoding="utf-8")
    with pytest.raises(ValueError, match="holds none"):
        read_ids(tmp_path / "ids")
