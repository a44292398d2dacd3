"""Rounds after the cold start from the command line, on a dozen images."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundle.commands import run_verb
from bundle.data.datalist import load_datalist
from bundle.embedding import Embeddings
from bundle.run.record import file_fingerprint
from bundle.weights import load_weights

from .test_pretrain import assert_same_weights

TINY = ["--set", "epochs=1", "--set", "epoch_length=2", "--set", "batch_size=4", "--set", "val_interval=9"]
WEAK = ["--weak-from", "2", "--weak-per-round", "1", "--weak-agreement", "0"]


@pytest.fixture(scope="module")
def initial(hospital, pretrained) -> Path:
    """The folder of a cold start of three images."""
    out = hospital.root / "initial"
    weights = pretrained / "model_ssl_pretrained.pt"
    arguments = ["--datalist", str(hospital.datalist), "--weights", str(weights), "--budget", "3", "--out", str(out)]
    assert run_verb("select_samples", arguments) == 0
    return out


@pytest.fixture(scope="module")
def request_of(hospital, pretrained, initial):
    """``request_of(out, *options)``: arguments of two rounds of two images, by simulated masks."""

    def arguments(out: Path, *options: str, datalist: Path = hospital.datalist) -> list[str]:
        weights = ["--ssl-weights", str(pretrained / "model_ssl_pretrained.pt")]
        place = ["--datalist", str(datalist), "--initial-selection", str(initial), "--out", str(out)]
        return [*place, *weights, "--oracle", "simulated", "--rounds", "2", "--per-round", "2", *TINY, *options]

    return arguments


@pytest.fixture(scope="module")
def undisturbed(hospital, request_of) -> tuple[Path, int]:
    """The folder of rounds with both labellers that nothing disturbed, and how many renames they took."""
    out = hospital.root / "rounds"
    replace, seen = Path.replace, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", lambda self, target: (seen.append(target), replace(self, target))[1])
        assert run_verb("run_rounds", request_of(out, *WEAK)) == 0
    return out, len(seen)


def rounds(out: Path) -> list[dict]:
    return json.loads((out / "rounds.json").read_text())["rounds"]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_every_round_asks_for_exactly_its_budget_of_images_without_a_label(undisturbed, hospital, initial):
    datalist = load_datalist(hospital.datalist)
    found = rounds(undisturbed[0])
    assert [len(one["queried"]) for one in found] == [3, 2, 2] and all(one["finished"] for one in found)
    assert sorted(found[0]["queried"]) == load_datalist(initial / "selection.json").ids("training")
    asked = [identifier for one in found for identifier in one["queried"]]
    assert len(set(asked)) == len(asked) and set(asked) <= set(datalist.candidates())
    for one in found:
        learned = load_datalist(undisturbed[0] / "rounds" / str(one["number"]) / "datalist.json").ids("training")
        assert learned == sorted(name for earlier in found[: one["number"] + 1] for name in earlier["queried"])


def test_the_most_uncertain_images_are_asked_for(undisturbed):
    out, found = undisturbed[0], rounds(undisturbed[0])
    scores = {row["id"]: float(row["score"]) for row in table(out / "rounds/2/uncertainty/scores.csv")}
    seen = {name for one in found[:2] for name in one["queried"]} | {"spot_02", "spot_03"}  # the latter of validation
    ranked = sorted(set(scores) - seen, key=lambda name: (-scores[name], name))
    assert found[2]["queried"] == ranked[:2]
    rows = table(out / "rounds/2/query/selection.csv")
    assert [row["id"] for row in rows] == ranked[:2] and all(row["reason"] for row in rows)


def test_pseudo_labels_stay_apart_from_labels_and_from_what_the_expert_has(undisturbed, hospital):
    out, found = undisturbed[0], rounds(undisturbed[0])
    assert [len(one["pseudo"]) for one in found] == [0, 0, 1]
    asked = {identifier for one in found for identifier in one["queried"]}
    assert not asked & set(found[2]["pseudo"])
    content = (out / "rounds/2/datalist.json").read_text()
    assert "pseudo" not in content and json.loads(content)["label_root"] == str(hospital.masks)
    (row,) = table(out / "rounds/2/pseudo/pseudo_labels.csv")
    mask, image = (np.asarray(Image.open(path)) for path in (out / "rounds/2/pseudo" / row["mask"], row["image"]))
    assert row["id"] == found[2]["pseudo"][0] and mask.shape == image.shape[:2]
    assert 0 <= found[2]["pseudo_dice"] <= 1


def test_the_table_and_the_report_tell_every_round(undisturbed):
    rows = table(undisturbed[0] / "rounds.csv")
    assert [row["labels"] for row in rows] == ["3", "5", "7"] and [row["pseudo_labels"] for row in rows] == [
        "0",
        "0",
        "1",
    ]
    assert all(row["section"] == "test" and row["n"] == "2" for row in rows)
    assert all(float(row["dice_low"]) <= float(row["dice"]) <= float(row["dice_high"]) for row in rows)
    page = (undisturbed[0] / "report.html").read_text()
    assert "7 labels, asked for by dsal" in page and "What the model drew itself" in page and "<script" not in page


def test_a_finished_round_is_never_done_again(undisturbed, request_of):
    out = undisturbed[0]
    before = {path: path.stat().st_mtime_ns for path in (out / "rounds").rglob("*") if path.is_file()}
    assert run_verb("run_rounds", request_of(out, *WEAK)) == 0
    assert {path: path.stat().st_mtime_ns for path in (out / "rounds").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("moment", [0.45, 0.85])
def test_killed_at_any_moment_it_ends_where_the_undisturbed_rounds_end(
    undisturbed, request_of, repository, tmp_path, moment
):
    whole, renames = undisturbed
    out = tmp_path / "rounds"
    arguments = request_of(out, *WEAK)
    command = [
        sys.executable,
        "-m",
        "tests.commands.killed_writing",
        str(round(moment * renames)),
        "run_rounds",
        *arguments,
    ]
    died = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert not (out / "rounds/2/train/model.pt").exists() or moment > 0.5
    assert run_verb("run_rounds", arguments) == 0
    assert rounds(out) == rounds(whole)
    assert_same_weights(out / "rounds/2/train/model.pt", whole / "rounds/2/train/model.pt")


def test_an_expert_s_masks_are_waited_for_and_lead_to_the_same_rounds(
    undisturbed, request_of, hospital, tmp_path, capsys
):
    content = json.loads(hospital.datalist.read_text())
    for entry in (entry for name in ("pool", "training") for entry in content[name]):
        del entry["label"]
    unlabelled = tmp_path / "datalist.json"
    unlabelled.write_text(json.dumps(content | {"training": [], "validation": content["validation"]}))
    out, masks, copies = tmp_path / "out", tmp_path / "masks", tmp_path / "copies"
    masks.mkdir()
    options = ["--oracle", "folder", "--masks", str(masks), "--copy-to", str(copies), "--rounds", "1"]
    arguments = request_of(out, *options, datalist=unlabelled)
    first = rounds(undisturbed[0])

    def annotate(names: list[str]) -> None:
        for name in names:
            shutil.copy(hospital.masks / f"{name}.png", masks / f"{name}_mask.png")

    assert run_verb("run_rounds", arguments) == 0
    listed = out / "rounds/0/to_annotate.csv"
    assert capsys.readouterr().out.splitlines()[-1] == str(listed)
    assert {row["id"] for row in table(listed)} == set(first[0]["queried"])
    assert all(not Path(row["image"]).is_absolute() and row["mask"] == f"{row['id']}.png" for row in table(listed))
    assert len(table(copies / "round_0/images.csv")) == 3

    annotate(first[0]["queried"][:2])
    Image.new("L", (5, 5)).save(masks / f"{first[0]['queried'][2]}.png")
    assert run_verb("run_rounds", arguments) == 0
    said = capsys.readouterr().out
    assert "round 0: 2 of 3 labels are there" in said and f"  {first[0]['queried'][2]}" in said.splitlines()
    assert "mask of another size" in (out / "rounds/0/quarantine.csv").read_text()
    assert [row["id"] for row in table(listed)] == first[0]["queried"][2:]

    (masks / f"{first[0]['queried'][2]}.png").unlink()
    annotate(first[0]["queried"])
    assert run_verb("run_rounds", arguments) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out / "rounds/1/to_annotate.csv")
    assert "Round 1, to be annotated (all 2)" in (out / "report.html").read_text()
    annotate(first[1]["queried"])
    refused = tmp_path / "refused"  # looked at in a copy, as if the expert had refused the second of the two
    shutil.copytree(out, refused)
    assert run_verb("run_rounds", arguments) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out / "report.html")
    assert [one["queried"] for one in rounds(out)] == [one["queried"] for one in first[:2]]
    assert_same_weights(out / "rounds/1/train/model.pt", undisturbed[0] / "rounds/1/train/model.pt")

    (tmp_path / "exclude.txt").write_text(first[1]["queried"][1] + "\n")
    again = [*request_of(refused, *options, datalist=unlabelled), "--exclude", str(tmp_path / "exclude.txt")]
    assert run_verb("run_rounds", again) == 0
    assert f"{first[1]['queried'][1]}" not in (refused / "report.html").read_text(), "it shows what is asked for now"
    copied = [row["id"] for row in table(copies / "round_1/images.csv")]
    assert copied == [*first[1]["queried"], rounds(refused)[1]["queried"][1]], "the new one beside what was there"
    kept, other = rounds(refused)[1]["queried"]
    assert kept == first[1]["queried"][0] and other not in {*first[0]["queried"], *first[1]["queried"]}
    assert "round 1: 4 of 5 labels are there" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        ["--strategy", "random", "--restart", "last"],
        ["--strategy", "ensemble", "--members", "2", "--diversity", "coverage"],
        ["--strategy", "bald", "--passes", "2", "--diversity", "noise", "--weak-from", "1", "--weak-agreement", "1"],
    ],
)
def test_other_ways_to_choose_and_to_start_keep_the_budget(request_of, tmp_path, options):
    out = tmp_path / "out"
    assert run_verb("run_rounds", request_of(out, *options, "--rounds", "1")) == 0
    assert [len(one["queried"]) for one in rounds(out)] == [3, 2]


@pytest.mark.parametrize("ensemble", [False, True])
def test_a_taught_round_learns_from_its_own_model_of_the_round_before(request_of, tmp_path, ensemble):
    out = tmp_path / "out"
    options = ["--strategy", "ensemble", "--members", "2"] if ensemble else []
    assert run_verb("run_rounds", request_of(out, *options, "--teach-from", "2")) == 0
    for own in ("train", "members/1")[: 1 + ensemble]:
        teachers = [load_weights(out / f"rounds/{number}/{own}/model.pt").settings["teacher"] for number in range(3)]
        assert teachers[:2] == ["none", "none"]
        assert teachers[2].startswith(file_fingerprint(out / f"rounds/1/{own}/model.pt"))


def test_what_the_expert_refuses_teaches_no_model(undisturbed, request_of, tmp_path):
    free = rounds(undisturbed[0])[2]["pseudo"][0]
    (tmp_path / "exclude.txt").write_text(f"{free}\n")
    out = tmp_path / "out"
    assert run_verb("run_rounds", request_of(out, "--rounds", "1", "--exclude", str(tmp_path / "exclude.txt"))) == 0
    learned = load_datalist(out / "rounds/1/datalist.json")
    whole = load_datalist(undisturbed[0] / "rounds/1/datalist.json").ids("pool")
    assert learned.ids("pool") == [name for name in whole if name != free]


def test_a_round_that_leaves_no_image_without_a_label_is_taught_by_labels_alone(request_of, tmp_path, caplog):
    out = tmp_path / "out"
    options = ["--strategy", "random", "--per-round", "7", "--rounds", "2", "--set", "epoch_length=1"]
    assert run_verb("run_rounds", request_of(out, *options, "--teach-from", "1")) == 0
    teachers = [load_weights(out / f"rounds/{number}/train/model.pt").settings["teacher"] for number in range(3)]
    assert [teacher == "none" for teacher in teachers] == [True, False, True]
    assert "no image without a label is left to teach on" in caplog.text


def test_rounds_end_where_the_pool_ends(request_of, tmp_path, caplog):
    out = tmp_path / "out"
    options = ["--strategy", "random", "--per-round", "7", "--rounds", "3", "--set", "epoch_length=1"]
    assert run_verb("run_rounds", request_of(out, *options)) == 0
    assert [len(one["queried"]) for one in rounds(out)] == [3, 7, 2]
    assert "fewer than the 7 to ask for" in caplog.text and "no image is left to ask for" in caplog.text


def test_copies_of_another_request_are_no_copies_of_this_one(request_of, hospital, tmp_path, capsys):
    content = json.loads(hospital.datalist.read_text())
    content["pool"] = [{name: entry[name] for name in ("id", "image")} for entry in content["pool"]]
    unlabelled = tmp_path / "datalist.json"
    unlabelled.write_text(json.dumps(content | {"training": []}))
    (tmp_path / "masks").mkdir()
    copies = tmp_path / "copies"
    options = ["--oracle", "folder", "--masks", str(tmp_path / "masks"), "--copy-to", str(copies)]
    arguments = request_of(tmp_path / "out", *options, datalist=unlabelled)
    assert run_verb("run_rounds", arguments) == 0
    rows = table(copies / "round_0" / "images.csv")
    with (copies / "round_0" / "images.csv").open("a") as handle:
        handle.write("4,0004_other.png,other\n")
    assert run_verb("run_rounds", arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "holds copies of 1 images that round 0 does not ask for, such as 'other'" in error
    assert all((copies / "round_0" / row["file"]).is_file() for row in rows)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--strategy", "dsl"], "strategy 'dsl' is unknown"),
        (["--option", "pears=all"], "did you mean 'pairs'"),
        (["--per-round", "0"], "--per-round must be at least 1"),
        (["--weak-from", "0"], "--weak-from must be at least 1"),
        (["--oracle", "folder", "--masks", "nowhere"], "--masks must be the folder"),
        (["--teach-from", "0"], "--teach-from must be at least 1"),
        (["--teach-from", "1", "--weak-from", "2"], "give one of them"),
        (["--weak-weight", "0"], "weak_weight must be a number above 0"),
        (["--passes", "3"], "no number of passes"),
        (["--strategy", "bald", "--passes", "1"], "passes must be 2 or more"),
        (["--embeddings", "nowhere"], "holds no embeddings"),
        (["--link"], "--link needs --copy-to"),
        (["--label", "mole=spot"], "they need --oracle folder"),
        (["--oracle", "folder", "--label", "mole=spt"], "did you mean 'spot'"),
        (["--diversity-option", "shortlist=3"], "no option 'shortlist'"),
    ],
)
def test_a_request_that_cannot_be_met_ends_as_one_line_and_code_2(request_of, tmp_path, capsys, options, told):
    out = tmp_path / "out"
    assert run_verb("run_rounds", request_of(out, *options)) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("run_rounds: ") and told in error
    assert not out.exists()


def test_embeddings_of_another_pool_are_refused(request_of, tmp_path, capsys):
    Embeddings(("other_1", "other_2"), np.eye(2, dtype=np.float32)).save(tmp_path / "embeddings")
    options = ["--strategy", "random", "--embeddings", str(tmp_path / "embeddings")]
    assert run_verb("run_rounds", request_of(tmp_path / "out", *options)) == 2
    assert "must be of this pool" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["images", "masks", "out"])
def test_copies_lie_apart_from_what_would_take_them_for_its_own(request_of, hospital, tmp_path, capsys, place):
    others = {"images": hospital.images, "masks": hospital.masks, "out": tmp_path / "out"}
    options = ["--oracle", "folder", "--masks", str(hospital.masks), "--copy-to", str(others[place] / "copies")]
    assert run_verb("run_rounds", request_of(tmp_path / "out", *options)) == 2
    assert "--copy-to must lie apart from" in capsys.readouterr().err


def test_a_pseudo_label_that_the_expert_refuses_is_drawn_no_more(undisturbed, request_of, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(undisturbed[0], out)
    state = json.loads((out / "rounds.json").read_text())
    drawn = state["rounds"][2]["pseudo"]
    state["rounds"][2] |= {"finished": False, "scores": {}}
    (out / "rounds.json").write_text(json.dumps(state))
    shutil.rmtree(out / "rounds/2/train")
    (tmp_path / "exclude.txt").write_text(f"{drawn[0]}\n")
    assert run_verb("run_rounds", request_of(out, *WEAK, "--exclude", str(tmp_path / "exclude.txt"))) == 0
    again = rounds(out)[2]
    assert again["pseudo"] and not set(again["pseudo"]) & set(drawn)
    assert [row["id"] for row in table(out / "rounds/2/pseudo/pseudo_labels.csv")] == again["pseudo"]


def test_the_state_of_another_datalist_is_refused(undisturbed, request_of, hospital, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    shutil.copy(undisturbed[0] / "rounds.json", out)
    request = json.loads((undisturbed[0] / "request.json").read_text())
    other = tmp_path / "datalist.json"
    content = json.loads(hospital.datalist.read_text())
    other.write_text(json.dumps(content | {"pool": content["pool"][:-1]}))
    (out / "request.json").write_text(json.dumps(request | {"datalist": str(other)}))
    assert run_verb("run_rounds", request_of(out, *WEAK, datalist=other)) == 2
    assert "of another datalist" in capsys.readouterr().err
