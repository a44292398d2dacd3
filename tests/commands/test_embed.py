"""Embeddings carry ids, and the order of the rows means nothing."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import numpy as np
import pytest

from bundle.commands import run_verb
from bundle.commands.embed import embed_section
from bundle.data.datalist import load_datalist
from bundle.embedding import Embeddings
from bundle.run.record import file_fingerprint
from bundle.run.workflow import run_workflow


@pytest.fixture(scope="module")
def weights(pretrained):
    return pretrained / "model_ssl_pretrained.pt"


def test_every_image_of_the_section_has_a_vector_under_its_id(hospital, weights, tmp_path, capsys):
    arguments = ["--datalist", str(hospital.datalist), "--weights", str(weights), "--out", str(tmp_path / "e")]
    assert run_verb("embed", arguments) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "e")
    embeddings = Embeddings.load(tmp_path / "e")
    assert list(embeddings.ids) == load_datalist(hospital.datalist).ids("pool")
    assert embeddings.vectors.shape == (14, 448) and embeddings.vectors.dtype == np.float32
    assert np.isfinite(embeddings.vectors).all() and (np.std(embeddings.vectors, axis=0) > 0).any()
    provenance = json.loads((tmp_path / "e" / "provenance.json").read_text())
    assert provenance["weights"] == file_fingerprint(weights) and provenance["settings"]["section"] == "pool"

    assert run_verb("embed", arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run_verb("embed", [*arguments, "--overwrite"]) == 0


def test_a_shuffled_list_in_other_batches_permutes_the_rows_and_changes_no_vector(hospital, weights, tmp_path):
    datalist = load_datalist(hospital.datalist)
    embed_section(datalist, "pool", weights, tmp_path / "sorted")
    shuffled = [{"image": e["image"], "id": f"{9 - i % 10}{e['id']}"} for i, e in enumerate(datalist.section("pool"))]
    random.Random(1).shuffle(shuffled)
    overrides = {"modality": str(hospital.modality), "datalist": shuffled, "weights": str(weights), "batch_size": 5}
    run_workflow("embed", overrides | {"output_dir": str(tmp_path / "shuffled")})
    one, other = Embeddings.load(tmp_path / "sorted"), Embeddings.load(tmp_path / "shuffled")
    assert [i[1:] for i in other.ids] != list(one.ids), "the rows do come in another order"
    row = {identifier[1:]: position for position, identifier in enumerate(other.ids)}
    np.testing.assert_allclose(other.vectors[[row[i] for i in one.ids]], one.vectors, atol=1e-5)


def test_the_bottleneck_alone_can_be_asked_for_and_the_record_says_so(hospital, weights, tmp_path, capsys):
    arguments = ["--datalist", str(hospital.datalist), "--weights", str(weights), "--out", str(tmp_path / "e")]
    assert run_verb("embed", [*arguments, "--set", "features=bottleneck"]) == 0
    assert Embeddings.load(tmp_path / "e").vectors.shape == (14, 256)
    assert json.loads((tmp_path / "e" / "provenance.json").read_text())["settings"]["features"] == "bottleneck"
    capsys.readouterr()
    assert run_verb("embed", [*arguments, "--overwrite", "--set", "features=colour"]) == 2
    assert "one of scales, bottleneck, got 'colour'" in capsys.readouterr().err


def test_weights_of_another_modality_are_refused(hospital, weights, tmp_path, capsys):
    arguments = ["--datalist", str(hospital.datalist), "--weights", str(weights), "--out", str(tmp_path / "e")]
    assert run_verb("embed", [*arguments, "--modality", "chest_xray"]) == 2
    error = capsys.readouterr().err
    assert "modality is 'spots', not 'chest_xray'" in error and "in_channels is 3, not 1" in error
    assert not (tmp_path / "e").exists()


def test_fine_tuned_weights_embed_as_well(hospital, trained, tmp_path):
    embed_section(load_datalist(hospital.datalist), "test", trained / "model.pt", tmp_path / "e")
    assert Embeddings.load(tmp_path / "e").vectors.shape == (2, 448)


def test_an_image_that_became_unreadable_is_named_and_the_rest_goes_on(hospital, weights, tmp_path):
    entries = load_datalist(hospital.datalist).section("pool")[:5]
    broken = tmp_path / "broken.png"
    broken.write_bytes(Path(entries[2]["image"]).read_bytes()[:60])
    listed = [entry if number != 2 else {**entry, "image": str(broken)} for number, entry in enumerate(entries)]
    common = {"modality": str(hospital.modality), "weights": str(weights), "batch_size": 2}
    run_workflow("embed", {**common, "datalist": listed, "output_dir": str(tmp_path / "some")})
    run_workflow("embed", {**common, "datalist": entries, "output_dir": str(tmp_path / "all")})
    some, whole = Embeddings.load(tmp_path / "some"), Embeddings.load(tmp_path / "all")
    readable = [entry["id"] for number, entry in enumerate(entries) if number != 2]
    assert list(some.ids) == readable
    np.testing.assert_allclose(some.vectors, whole.subset(readable).vectors, atol=1e-5)
    with (tmp_path / "some" / "quarantine.csv").open(newline="", encoding="utf-8") as handle:
        (row,) = csv.DictReader(handle)
    assert row["path"] == str(broken) and row["reason"].startswith("unreadable: ")
    assert len((tmp_path / "all" / "quarantine.csv").read_text().splitlines()) == 1


def test_where_no_image_can_be_read_nothing_is_written_and_one_is_named(hospital, weights, tmp_path):
    entries = [{"id": "a", "image": str(tmp_path / "a.png")}]
    (tmp_path / "a.png").write_bytes(b"no image")
    overrides = {"modality": str(hospital.modality), "datalist": entries, "weights": str(weights)}
    with pytest.raises(ValueError, match=r"none of the 1 images can be read, the first is .*a\.png: unreadable"):
        run_workflow("embed", overrides | {"output_dir": str(tmp_path / "e")})
    assert not (tmp_path / "e").exists()


def test_masks_play_no_part_in_embeddings(hospital, weights, tmp_path):
    """A mask that is gone ends nothing, and one that was corrected makes no other data."""
    entries = load_datalist(hospital.datalist).section("pool")[:4]
    bare = [{name: entry[name] for name in ("id", "image")} for entry in entries]
    gone = [{**entry, "label": str(tmp_path / "gone.png")} for entry in bare]
    common = {"modality": str(hospital.modality), "weights": str(weights)}
    for name, listed in (("bare", bare), ("gone", gone)):
        run_workflow("embed", {**common, "datalist": listed, "output_dir": str(tmp_path / name)})
    found = [json.loads((tmp_path / name / "provenance.json").read_text())["data"] for name in ("bare", "gone")]
    assert found[0] == found[1]
