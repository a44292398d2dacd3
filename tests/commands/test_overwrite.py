"""``--overwrite`` deletes, so it takes only what the same verb has left."""

from __future__ import annotations

import pytest

from bundle.commands import run_verb
from bundle.run.record import RunRecord


@pytest.mark.parametrize("verb", ["benchmark_selection", "benchmark_speed", "make_demo"])
def test_the_folder_of_another_verb_is_kept(verb, tmp_path, capsys):
    out = tmp_path / "train"
    out.mkdir()
    (out / "model.pt").write_bytes(b"weights")
    RunRecord("train", {}).write(out)
    assert run_verb(verb, ["--out", str(out), "--overwrite"]) == 2
    assert "not replaced" in capsys.readouterr().err
    assert (out / "model.pt").read_bytes() == b"weights"
