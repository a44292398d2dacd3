from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.embedding import Embeddings, empty_table, unit_length
from bundle.run.atomic import OutputExists
from bundle.selection import select

VECTORS = np.arange(12, dtype=np.float32).reshape(4, 3)
IDS = ("b/2", "a 1", "ü", "#4")


def test_what_is_saved_is_loaded_from_disk_row_by_row(tmp_path):
    place = Embeddings(IDS, VECTORS, {"section": "pool", "weights": None}).save(tmp_path / "embeddings")
    found = Embeddings.load(place)
    assert found.ids == IDS
    assert isinstance(found.vectors, np.memmap)
    np.testing.assert_array_equal(found.vectors, VECTORS)
    assert found.provenance == {"section": "pool", "weights": None}
    assert sorted(path.name for path in place.iterdir()) == ["ids.txt", "provenance.json", "vectors.npy"]


@given(st.text(min_size=1))
def test_any_text_of_one_line_is_an_id_and_survives_the_disk(tmp_path_factory, identifier):
    if "\n" in identifier or "\r" in identifier:
        with pytest.raises(ValueError, match="one line"):
            Embeddings((identifier,), np.ones((1, 1), np.float32))
        return
    place = tmp_path_factory.mktemp("e") / "x"
    assert Embeddings.load(Embeddings((identifier,), np.ones((1, 1), np.float32)).save(place)).ids == (identifier,)


def test_an_existing_folder_is_replaced_only_when_asked_for(tmp_path):
    Embeddings(IDS, VECTORS).save(tmp_path / "e")
    with pytest.raises(OutputExists):
        Embeddings(IDS, VECTORS + 1).save(tmp_path / "e")
    loaded = Embeddings.load(tmp_path / "e")
    loaded.save(tmp_path / "e", overwrite=True)  # onto the very file it is mapped from
    np.testing.assert_array_equal(Embeddings.load(tmp_path / "e").vectors, VECTORS)


def test_a_subset_has_the_order_asked_for():
    found = Embeddings(IDS, VECTORS, {"a": 1}).subset(["#4", "b/2"])
    assert found.ids == ("#4", "b/2")
    np.testing.assert_array_equal(found.vectors, VECTORS[[3, 0]])
    assert found.provenance == {"a": 1}
    with pytest.raises(ValueError, match="1 of 2 ids have no embedding, the first is 'c'"):
        Embeddings(IDS, VECTORS).subset(["#4", "c"])


@pytest.mark.parametrize(
    ("ids", "vectors", "message"),
    [
        (IDS[:3], VECTORS, "3 ids and 4 vectors"),
        (("x", "y", "x", "z"), VECTORS, "'x' is there 2 times"),
        (("x", "", "y", "z"), VECTORS, "not empty"),
        (("x", 2, "y", "z"), VECTORS, "got 2"),
        (("x", "\udcff", "y", "z"), VECTORS, "UTF-8"),  # how Python reads a file name in Latin-1
        (IDS, VECTORS.astype(int), "int64"),
        (IDS, VECTORS[0], r"shape \(3,\)"),
        (IDS, VECTORS[:, :0], r"shape \(4, 0\)"),
        ((), VECTORS[:0], r"shape \(0, 3\)"),
    ],
)
def test_unsound_embeddings_are_refused(ids, vectors, message):
    with pytest.raises(ValueError, match=message):
        Embeddings(ids, vectors)


@pytest.mark.parametrize("entry", [np.nan, np.inf, -np.inf, 1e300, -1e16])
def test_an_entry_out_of_range_names_its_image(entry):
    vectors = np.zeros((9000, 2))
    vectors[8500, 1] = entry
    with pytest.raises(ValueError, match="'image 8500'"):
        Embeddings(tuple(f"image {i}" for i in range(9000)), vectors)


def test_a_folder_that_was_tampered_with_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"vectors\.npy is missing"):
        Embeddings.load(tmp_path)
    place = Embeddings(IDS, VECTORS).save(tmp_path / "e")
    (place / "ids.txt").write_text("only one\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"e: .*1 ids and 4 vectors"):
        Embeddings.load(place)
    np.save(place / "vectors.npy", np.array([{"pickled": True}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"pickle|objects"):
        Embeddings.load(place)


def test_unit_length_keeps_directions_and_zero_rows():
    found = unit_length(np.array([[3, 4], [0, 0], [1e-30, 0], [0, -1e14]], dtype=np.float32))
    np.testing.assert_allclose(found, [[0.6, 0.8], [0, 0], [1, 0], [0, -1]], rtol=1e-6)


def test_unit_length_of_some_rows_is_theirs_also_over_several_blocks(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(20_000, 3)).astype(np.float32)
    np.save(tmp_path / "v.npy", vectors)
    rows = np.random.default_rng(1).permutation(20_000)[:9_000]
    found = unit_length(np.load(tmp_path / "v.npy", mmap_mode="r"), rows=rows)
    np.testing.assert_array_equal(found, unit_length(vectors)[rows])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_all_rows_in_their_order_stay_on_disk(tmp_path):
    loaded = Embeddings.load(Embeddings(IDS, VECTORS).save(tmp_path / "e"))
    assert isinstance(loaded.subset(IDS).vectors, np.memmap)


def test_tables_too_large_for_memory_are_in_a_scratch_file_that_leaves_nothing_behind(tmp_path, monkeypatch):
    vectors = np.random.default_rng(0).standard_normal((60_000, 24), dtype=np.float32)
    ids = tuple(f"{i:05d}" for i in range(len(vectors)))
    loaded = Embeddings.load(Embeddings(ids, vectors).save(tmp_path / "e"))
    wanted = {
        name: select(loaded, strategy=name, budget=5, exclude=ids[:7]).ids for name in ("kcenter", "kmeans", "random")
    }
    monkeypatch.setattr("bundle.embedding._MEMORY_SHARE", 0.0)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    turned = loaded.subset(ids[::-1])
    assert isinstance(turned.vectors, np.memmap)
    np.testing.assert_array_equal(turned.vectors, vectors[::-1])
    tracemalloc.start()
    units = unit_length(loaded.vectors)
    assert tracemalloc.get_traced_memory()[1] < vectors.nbytes / 2, "a block at a time"
    tracemalloc.stop()
    assert isinstance(units, np.memmap)
    for name, chosen in wanted.items():
        assert select(turned, strategy=name, budget=5, exclude=ids[:7]).ids == chosen
    assert [path.name for path in tmp_path.iterdir()] == ["e"]


def test_a_full_disk_is_told_and_kills_nothing(monkeypatch):
    monkeypatch.setattr("bundle.embedding._MEMORY_SHARE", 0.0)
    with pytest.raises(OSError):
        empty_table(1 << 44, 4)


def test_a_vector_that_float32_would_make_zero_is_refused_by_its_id():
    vectors = np.array([[1.0, 2.0], [0.0, 0.0], [0.0, 1e-60]])
    with pytest.raises(ValueError, match=r"vector of 'c' must have an entry that float32 can hold.*at most 1e-60"):
        Embeddings(("a", "b", "c"), vectors)
    vectors[2, 0] = 1e-40  # which float32 still tells from 0
    assert Embeddings(("a", "b", "c"), vectors).vectors[2].any()
