"""A run can be read beside its output, whatever its settings are made of."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bundle import __version__
from bundle.run.record import (
    RunRecord,
    content_fingerprint,
    entries_fingerprint,
    file_fingerprint,
    start_fingerprint,
    versions,
)


def strict(path: Path) -> Any:
    """JSON as the standard has it; Python alone would read NaN."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def test_tells_stage_settings_seed_versions_time_and_results(tmp_path):
    record = RunRecord("embed", {"section": "pool"}, seed=7, fingerprints={"weights": "sha256:0"})
    with record.timed("encode"):
        time.sleep(0.01)
    with record.timed("encode"):
        time.sleep(0.01)
    record.note("images", np.int64(12))
    content = strict(record.write(tmp_path))
    assert (tmp_path / "run.json").is_file()
    assert content["stage"] == "embed" and content["seed"] == 7 and content["settings"] == {"section": "pool"}
    assert content["fingerprints"] == {"weights": "sha256:0"} and content["results"] == {"images": 12}
    assert content["timings"]["encode"] >= 0.02 and content["seconds"] >= content["timings"]["encode"]
    assert content["versions"]["coldstart_segmentation"] == __version__
    assert content["versions"]["torch"] == torch.__version__
    assert content["hardware"]["cores"] >= 1 and content["hardware"]["threads"] == torch.get_num_threads()


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.array([3]), 3),
        (Path("a/b"), "a/b"),
        ((1, [2, (3,)]), [1, [2, [3]]]),
        ({1: {"deep": Path("x")}}, {"1": {"deep": "x"}}),
        (torch.device("cpu"), "cpu"),
        (torch.float16, "torch.float16"),
        (None, None),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (np.float64("inf"), "inf"),
    ],
)
def test_odd_settings_are_kept_as_plain_values(tmp_path, value, kept):
    assert strict(RunRecord("train", {"knob": value}).write(tmp_path))["settings"] == {"knob": kept}


@given(
    st.recursive(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(),
            st.text(),
            st.binary(),
            st.complex_numbers(),
            st.dates(),
            st.frozensets(st.integers()),
            st.just(object()),
            st.just(len),
            st.just(np.arange(4)),
            st.just(torch.ones(2, 2)),
            st.just(torch.tensor(2)),
        ),
        lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text() | st.integers(), inner)),
        max_leaves=8,
    )
)
def test_no_settings_make_a_record_fail(tmp_path_factory, value):
    record = RunRecord("train", {"knob": value})
    record.note("figure", value)
    strict(record.write(tmp_path_factory.getbasetemp() / "odd"))


def test_file_fingerprints_follow_the_bytes_alone(tmp_path):
    for name, content in (("a", b"x" * (1 << 21)), ("b", b"x" * (1 << 21)), ("c", b"x" * (1 << 21) + b"y")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (file_fingerprint(tmp_path / name) for name in "abc")
    assert a == b != c
    assert a.startswith("sha256:") and len(a) == 7 + 64


def test_content_fingerprints_keep_items_apart():
    assert content_fingerprint(["ab", "c"]) != content_fingerprint(["a", "bc"])
    assert content_fingerprint(["a", "b"]) != content_fingerprint(["b", "a"])


def labelled_pair(folder: Path, mask: bytes) -> list[dict[str, str]]:
    folder.mkdir()
    (folder / "mask.png").write_bytes(mask)
    labelled = {"id": "a", "image": str(folder / "a.png"), "label": str(folder / "mask.png")}
    return [{"id": "b", "image": str(folder / "b.png")}, labelled]


def test_entries_fingerprints_ignore_order_and_place(tmp_path):
    here, there = labelled_pair(tmp_path / "one", b"mask"), labelled_pair(tmp_path / "two", b"mask")
    assert entries_fingerprint(here) == entries_fingerprint(there[::-1])


def test_entries_fingerprints_see_a_corrected_a_missing_and_a_further_label(tmp_path):
    entries = labelled_pair(tmp_path / "one", b"mask")
    corrected = labelled_pair(tmp_path / "two", b"MASK")
    unlabelled = [{"id": entry["id"], "image": entry["image"]} for entry in entries]
    prints = {entries_fingerprint(e) for e in (entries, corrected, unlabelled, entries[:1])}
    assert len(prints) == 4


def test_a_start_is_told_by_its_weights_and_its_scope(tmp_path):
    (tmp_path / "one.pt").write_bytes(b"one")
    (tmp_path / "two.pt").write_bytes(b"two")
    starts = [(scope, tmp_path / name) for scope in ("all", "encoder") for name in ("one.pt", "two.pt")]
    assert len({start_fingerprint(*start) for start in starts}) == 4
    assert start_fingerprint("none", tmp_path / "one.pt") == start_fingerprint("none", None) == "none"


def test_versions_name_what_is_installed_alone():
    found = versions()
    assert {"python", "torch", "monai", "numpy"} <= set(found)
    assert all(found.values())
