"""The datalist: what is saved is what is loaded, no path leaves its root, no patient is on two sides."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bundle.data.datalist import Datalist, entries_from, load_datalist


def entry(identifier: str, **more: str) -> dict[str, str]:
    return {"id": identifier, "image": f"{identifier}.png", **more}


@pytest.fixture
def datalist(tmp_path) -> Datalist:
    """Ten labelled images of five patients, two to a patient; the last patient is the test, the first validation."""
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    entries = [entry(f"{number}", label=f"{number}.png", group=f"p{number // 2}") for number in range(10)]
    sections = {"pool": entries[:8], "validation": entries[:2], "training": entries[2:8], "test": entries[8:]}
    return Datalist("dermoscopy", tmp_path / "images", tmp_path / "masks", sections)


def test_what_is_saved_is_what_is_loaded(datalist, tmp_path):
    loaded = load_datalist(datalist.save(tmp_path / "run" / "datalist.json"))
    assert loaded == datalist
    assert loaded.fingerprint() == datalist.fingerprint()
    assert loaded.modality.name == "dermoscopy"
    assert json.loads((tmp_path / "run" / "datalist.json").read_text())["pool"][0]["image"] == "0.png"


def test_sections_have_absolute_paths_and_are_sorted(datalist, tmp_path):
    pool = datalist.section("pool")
    assert [found["id"] for found in pool] == sorted(found["id"] for found in pool) == datalist.ids("pool")
    assert pool[0]["image"] == str(tmp_path / "images" / "0.png")
    assert pool[0]["label"] == str(tmp_path / "masks" / "0.png")
    with pytest.raises(ValueError, match="must be one of pool, training, validation, test"):
        datalist.section("train")


def test_order_of_the_entries_does_not_matter(datalist):
    turned = {name: tuple(reversed(entries)) for name, entries in datalist.sections.items()}
    again = Datalist(datalist.modality_name, datalist.root, datalist.label_root, turned)
    assert again.fingerprint() == datalist.fingerprint()


def test_fingerprint_follows_the_content_and_not_the_place(datalist):
    assert Datalist("dermoscopy", Path("/"), Path("/"), datalist.sections).fingerprint() == datalist.fingerprint()
    assert datalist.with_training(["2"]).fingerprint() != datalist.fingerprint()


def test_with_training_has_exactly_these_and_loses_nothing(datalist):
    chosen = datalist.with_training(["5", "3"])
    assert chosen.ids("training") == ["3", "5"]
    assert chosen.section("training")[0]["label"].endswith("3.png")
    for name in ("pool", "validation", "test"):
        assert chosen.section(name) == datalist.section(name)


def test_candidates_share_no_patient_with_validation_or_test(datalist):
    held = Datalist(
        "dermoscopy",
        datalist.root,
        datalist.label_root,
        {**datalist.sections, "validation": datalist.sections["validation"][:1]},
    )
    assert held.candidates() == ["2", "3", "4", "5", "6", "7"]


@pytest.mark.parametrize(
    ("ids", "message"),
    [(["8"], "must come from the pool"), (["0"], "validation"), (["3", "3"], "given twice"), (["x"], "from the pool")],
)
def test_training_outside_the_candidates_is_refused(datalist, ids, message):
    with pytest.raises(ValueError, match=message):
        datalist.with_training(ids)


def test_labelled_leaves_out_what_has_no_label(tmp_path):
    pool = [entry("a"), entry("b", label="b.png")]
    datalist = Datalist("dermoscopy", tmp_path, tmp_path, {"pool": pool})
    assert [found["id"] for found in datalist.section("pool", labelled=True)] == ["b"]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"pool": [entry("a"), entry("a")]}, "twice"),
        ({"pool": [entry("a")], "test": [entry("a")]}, "in test and in pool"),
        ({"pool": [entry("a", group="p")], "test": [entry("b", group="p")]}, "patient"),
        ({"training": [entry("a")], "validation": [entry("a")]}, "in validation and in training"),
        ({"exam": []}, "sections must be out of"),
    ],
)
def test_mixed_sides_are_refused(tmp_path, sections, message):
    with pytest.raises(ValueError, match=message):
        Datalist("dermoscopy", tmp_path, None, sections)


@pytest.mark.parametrize("image", ["../secret.png", "/etc/passwd", "a/../../b.png"])
def test_a_path_that_leaves_the_root_is_refused(tmp_path, image):
    path = tmp_path / "datalist.json"
    pool = [{"id": "a", "image": image}]
    path.write_text(json.dumps({"modality": "dermoscopy", "root": str(tmp_path), "pool": pool}))
    with pytest.raises(ValueError, match="stay below it"):
        load_datalist(path)


def test_a_link_that_leaves_the_root_is_refused_and_one_inside_is_not(tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    (tmp_path / "secret.png").write_bytes(b"")
    (root / "real.png").write_bytes(b"")
    (root / "out.png").symlink_to(tmp_path / "secret.png")
    (root / "in.png").symlink_to(root / "real.png")
    assert Datalist("dermoscopy", root, None, {"pool": [entry("in")]}).section("pool")
    with pytest.raises(ValueError, match="link that leaves the root"):
        Datalist("dermoscopy", root, None, {"pool": [entry("out")]}).section("pool")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "must be a JSON datalist"),
        ("[]", "modality and root"),
        ('{"modality": "dermoscopy", "root": "gone"}', "no folder here"),
        ('{"modality": "dermoscopy", "root": ".", "pool": {}}', "must be a list"),
        ('{"modality": "dermoscopy", "root": ".", "pool": [{"id": "a"}]}', "id and image"),
    ],
)
def test_what_is_no_datalist_is_refused(tmp_path, text, message):
    path = tmp_path / "datalist.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_datalist(path)


def test_a_relative_root_is_meant_from_the_file(tmp_path):
    (tmp_path / "images").mkdir()
    path = tmp_path / "datalist.json"
    path.write_text(json.dumps({"modality": "dermoscopy", "root": "images", "pool": [entry("a")]}))
    assert load_datalist(path).section("pool")[0]["image"] == str(tmp_path / "images" / "a.png")


def test_entries_come_from_a_datalist_its_path_and_a_plain_list_alike(datalist, tmp_path):
    path = datalist.save(tmp_path / "datalist.json")
    plain = [{"image": found["image"], "label": found["label"]} for found in reversed(datalist.section("pool"))]
    expected = [{key: found[key] for key in ("id", "image", "label")} for found in datalist.section("pool")]
    assert entries_from(plain) == expected
    assert entries_from(str(path), "pool") == entries_from(datalist, "pool") == datalist.section("pool")


def test_ids_of_a_plain_list_are_kept_or_derived_from_the_common_folder():
    found = entries_from([{"image": "/d/x/a.png"}, {"image": "/d/y/a.png"}, {"image": "/d/z.png", "id": "own"}])
    assert [made["id"] for made in found] == ["own", "x/a", "y/a"]
    assert [made["id"] for made in entries_from([{"image": "/d/x/a.png"}], root="/d")] == ["x/a"]
    assert entries_from([]) == []
    with pytest.raises(ValueError, match="twice"):
        entries_from([{"image": "/d/a.png"}, {"image": "/d/a.jpg"}])
    with pytest.raises(ValueError, match="with an image"):
        entries_from([{"label": "/d/a.png"}])


def test_without_takes_images_out_of_the_pool_alone(datalist):
    gone = [*datalist.ids("training")[:1], *datalist.ids("test"), "unknown"]
    left = datalist.without(gone)
    assert left.ids("pool") == [name for name in datalist.ids("pool") if name not in gone]
    assert [left.ids(name) for name in ("training", "validation", "test")] == [
        datalist.ids(name) for name in ("training", "validation", "test")
    ]
