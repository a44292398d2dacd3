"""What is written is whole or absent, whatever happens while it is written."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bundle.run.atomic import (
    OutputExists,
    atomic_file,
    atomic_folder,
    atomic_new_file,
    retire_folder,
    write_json,
    write_secret,
    write_text,
)
from bundle.run.refusal import CannotWrite
from bundle.run.table import write_csv
from bundle.run.temporary import TEMPORARY, clear_leftovers, temporary_path


class Interrupted(Exception):
    """What the tests raise while something is written."""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_under_its_name_when_it_is_whole(tmp_path):
    target = tmp_path / "new" / "folder" / "scores.nii.gz"
    with atomic_file(target) as temporary:
        assert temporary.name.endswith(".nii.gz"), "writers choose the format by the suffix"
        temporary.write_text("half")
        assert not target.exists()
        temporary.write_text("whole")
    assert target.read_text() == "whole"
    assert names(target.parent) == ["scores.nii.gz"]


@pytest.mark.parametrize("written", ["", "half"])
@pytest.mark.parametrize("old", [None, "old"])
def test_an_exception_leaves_the_old_file_and_no_temporary(tmp_path, written, old):
    target = tmp_path / "weights.pt"
    if old is not None:
        target.write_text(old)
    with pytest.raises(Interrupted), atomic_file(target) as temporary:
        if written:
            temporary.write_text(written)
        raise Interrupted
    assert names(tmp_path) == (["weights.pt"] if old else [])
    assert old is None or target.read_text() == old


@pytest.mark.parametrize("hard_links", [True, False])
def test_a_new_file_takes_the_place_of_none(tmp_path, monkeypatch, hard_links):
    if not hard_links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError(errno.EPERM, "no links here")))
    for attempt in ("first", "second"):
        try:
            with atomic_new_file(tmp_path / "out.txt") as temporary:
                temporary.write_text(attempt)
        except FileExistsError:
            assert attempt == "second"
    assert (tmp_path / "out.txt").read_text() == "first" and [p.name for p in tmp_path.iterdir()] == ["out.txt"]


def test_a_writer_that_writes_nothing_is_an_error_and_the_old_file_stays(tmp_path):
    target = write_text(tmp_path / "table.csv", "old")
    with pytest.raises(FileNotFoundError), atomic_file(target):
        pass
    assert target.read_text() == "old"


@pytest.mark.parametrize("writer", ["json", "csv"])
def test_content_that_cannot_be_written_leaves_the_old_file(tmp_path, writer):
    target = write_text(tmp_path / "table", "old")
    with pytest.raises((TypeError, ValueError)):
        if writer == "json":
            write_json(target, {"good": 1, "bad": object()})
        else:
            write_csv(target, [{"id": "a"}, {"id": "b", "unknown": 1}], ["id"])
    assert names(tmp_path) == ["table"]
    assert target.read_text() == "old"


def test_json_and_csv_are_read_back_as_they_were(tmp_path):
    content = {"ä": [1, None, True], "a": {"b": 0.5}}
    text = write_json(tmp_path / "a.json", content).read_text(encoding="utf-8")
    assert json.loads(text) == content
    assert text.index("ä") < text.index('"a"'), "the order given is kept"
    rows = [{"id": 'a "quoted", name', "dice": 0.5}, {"id": "b"}]
    assert write_csv(tmp_path / "a.csv", rows, ["id", "dice"]).read_text() == (
        'id,dice\n"a ""quoted"", name",0.5\nb,\n'
    )


def test_a_folder_appears_with_everything_in_it(tmp_path):
    target = tmp_path / "deep" / "embeddings"
    with atomic_folder(target) as temporary:
        (temporary / "ids.txt").write_text("a")
        assert not target.exists()
    assert names(target.parent) == ["embeddings"]
    assert names(target) == ["ids.txt"]


def test_a_folder_has_the_permissions_that_mkdir_gives(tmp_path):
    (tmp_path / "plain").mkdir()
    with atomic_folder(tmp_path / "atomic"):
        pass
    assert stat.S_IMODE((tmp_path / "atomic").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize("raised", [Interrupted, KeyboardInterrupt])
@pytest.mark.parametrize("old", [False, True])
def test_an_exception_leaves_the_old_folder_and_no_temporary(tmp_path, old, raised):
    target = tmp_path / "run"
    if old:
        target.mkdir()
        (target / "run.json").write_text("{}")
    with pytest.raises(raised), atomic_folder(target, overwrite=True) as temporary:
        (temporary / "new.txt").write_text("new")
        raise raised
    assert names(tmp_path) == (["run"] if old else [])
    assert not old or names(target) == ["run.json"]


def test_a_full_folder_is_replaced_only_when_asked_and_an_empty_one_always(tmp_path):
    folder, file, empty = tmp_path / "folder", tmp_path / "file", tmp_path / "empty"
    folder.mkdir()
    empty.mkdir()
    (folder / "run.json").write_text("old")
    file.write_text("old")
    for taken in (folder, file):
        with pytest.raises(OutputExists, match="--overwrite"), atomic_folder(taken):
            pytest.fail("nothing may be done in vain")
    assert (folder / "run.json").read_text() == file.read_text() == "old"
    for target in (folder, empty):
        with atomic_folder(target, overwrite=target is folder) as temporary:
            (temporary / "new.txt").write_text("new")
        assert names(target) == ["new.txt"]
    assert names(tmp_path) == ["empty", "file", "folder"]


def test_what_no_run_has_made_is_never_replaced(tmp_path):
    photos, file = tmp_path / "photos", tmp_path / "notes"
    photos.mkdir()
    (photos / "only_copy.jpg").write_text("pixels")
    file.write_text("notes")
    for target in (photos, file):
        with pytest.raises(ValueError, match=r"holds no run\.json"), atomic_folder(target, overwrite=True):
            pytest.fail("nothing may be done in vain")
    assert (photos / "only_copy.jpg").read_text() == "pixels" and file.read_text() == "notes"
    assert names(tmp_path) == ["notes", "photos"]


def test_a_folder_is_told_by_the_mark_of_its_kind(tmp_path):
    target = tmp_path / "package"
    (target / "configs").mkdir(parents=True)
    (target / "configs" / "metadata.json").write_text("{}")
    with pytest.raises(ValueError, match=r"run\.json"), atomic_folder(target, overwrite=True):
        pytest.fail("nothing may be done in vain")
    with atomic_folder(target, overwrite=True, mark="configs/metadata.json"):
        pass
    assert names(target) == []


@pytest.mark.parametrize("record", ['{"stage": "make_datalist"}', "{}", "[]", "broken"])
def test_a_run_of_another_stage_is_never_replaced(tmp_path, record):
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text(record)
    (run / "identity.key").write_text("secret")
    with pytest.raises(ValueError, match="stage embed"), atomic_folder(run, overwrite=True, stage="embed"):
        pytest.fail("nothing may be done in vain")
    assert (run / "identity.key").read_text() == "secret"
    (run / "run.json").write_text('{"stage": "embed"}')
    with atomic_folder(run, overwrite=True, stage="embed") as temporary:
        (temporary / "new.txt").write_text("new")
    assert names(run) == ["new.txt"] and names(tmp_path) == ["run"]


def test_an_interrupt_between_the_two_renames_puts_the_old_folder_back(tmp_path, monkeypatch):
    target = tmp_path / "run"
    target.mkdir()
    (target / "run.json").write_text("{}")
    rename = Path.replace

    def interrupted(self: Path, new: Path) -> Path:
        if Path(new) == target and self.parent == tmp_path:
            raise KeyboardInterrupt
        return rename(self, new)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), atomic_folder(target, overwrite=True) as temporary:
        (temporary / "new.txt").write_text("new")
    assert names(tmp_path) == ["run"] and names(target) == ["run.json"]


@pytest.mark.parametrize("kind", ["atomic_file", "atomic_folder"])
@pytest.mark.parametrize("death", ["os._exit(3)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_process_that_dies_leaves_nothing_under_the_name(tmp_path, kind, death):
    target = tmp_path / "result"
    script = f"""
import os, signal
from bundle.run.atomic import atomic_file, atomic_folder
with {kind}({str(target)!r}) as temporary:
    (temporary / "half" if temporary.is_dir() else temporary).write_text("half")
    {death}
"""
    code = subprocess.run([sys.executable, "-c", script], check=False).returncode
    assert code in (3, -signal.SIGKILL)
    assert not target.exists()
    with atomic_file(target) as temporary:  # and the next attempt is not in its way
        temporary.write_text("whole")
    assert target.read_text() == "whole"


def test_two_processes_that_write_one_file_do_not_mix(tmp_path):
    target = tmp_path / "shared.txt"
    script = f"""
import sys
from bundle.run.atomic import atomic_file
for _ in range(30):
    with atomic_file({str(target)!r}) as temporary, temporary.open("w") as handle:
        for _ in range(200):
            handle.write(sys.argv[1] * 50)
            handle.flush()
"""
    writers = [subprocess.Popen([sys.executable, "-c", script, letter]) for letter in "ab"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if target.exists():
            text = target.read_text()
            assert len(text) == 200 * 50
            seen |= set(text)
            assert len(set(text)) == 1
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen and names(tmp_path) == ["shared.txt"]


def dead_process() -> int:
    """The number of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_what_another_machine_is_writing_stays_until_it_is_a_week_old(tmp_path):
    with temporary_path(tmp_path / "a.json", "tmp") as own:
        match = TEMPORARY.fullmatch(own.name)
    assert match is not None
    host = match["host"]
    other = "abcdef" if host != "abcdef" else "fedcba"
    fresh, old = (tmp_path / f".{name}.json.999999999.{other}-01234567.tmp" for name in ("fresh", "old"))
    mine = tmp_path / f".mine.json.999999999.{host}-01234567.tmp"
    for path in (fresh, old, mine):
        path.write_text("half")
    os.utime(old, (0, 0))
    clear_leftovers(tmp_path)
    assert names(tmp_path) == [fresh.name]


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    dead, alive = dead_process(), os.getppid()
    stay = [f".a.json.{alive}.01234567.tmp", f".a.json.{dead}.0123.tmp", ".hidden", f"a.json.{dead}.01234567.tmp"]
    go = [f".a.json.{dead}.01234567.tmp.json", f".a.json.{os.getpid()}.01234567.tmp", f".b.{dead}.01234567.tmp"]
    for name in (*stay, *go):
        (tmp_path / name).write_text("half")
    (tmp_path / f".run.{dead}.89abcdef.tmp").mkdir()
    (tmp_path / f".run.{dead}.89abcdef.tmp" / "half.csv").write_text("half")
    below = tmp_path / "deep" / f".c.{dead}.01234567.tmp"
    below.parent.mkdir()
    below.write_text("half")
    clear_leftovers(tmp_path, of="a.json")
    assert names(tmp_path) == sorted([*stay, go[2], f".run.{dead}.89abcdef.tmp", "deep"])
    clear_leftovers(tmp_path)
    assert names(tmp_path) == sorted([*stay, "deep"]) and below.exists()
    clear_leftovers(tmp_path, deep=True)
    assert not below.exists()
    clear_leftovers(tmp_path / "absent")


def test_a_kill_between_the_two_renames_of_a_replacement_loses_neither_folder(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("old")
    script = f"""
import os, signal
from pathlib import Path
from bundle.run.atomic import atomic_folder
rename = Path.replace
def killed(self, new):
    if Path(new) == Path({str(tmp_path / "run")!r}):
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, new)
Path.replace = killed
with atomic_folder({str(tmp_path / "run")!r}, overwrite=True) as temporary:
    (temporary / "new.txt").write_text("new")
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    assert not (tmp_path / "run").exists()
    with pytest.raises(OutputExists), atomic_folder(tmp_path / "run"):
        pytest.fail("the old one is back, so nothing may be done in vain")
    assert (tmp_path / "run" / "run.json").read_text() == "old" and names(tmp_path) == ["run"]


@pytest.mark.parametrize("name", ["x" * 251 + ".png", "é" * 125 + ".png", "1.2." + "3." * 120 + "nii.gz"])
def test_the_longest_name_that_the_system_takes_can_be_written(tmp_path, name):
    with atomic_file(tmp_path / name) as temporary:
        assert temporary.name.endswith(name[-4:])
        temporary.write_text("whole")
    assert names(tmp_path) == [name]


def test_a_refusal_of_the_system_names_the_output_and_the_remedy(tmp_path):
    (tmp_path / "file").write_text("")
    for write in (lambda path: write_text(path, "x"), lambda path: atomic_folder(path).__enter__()):
        with pytest.raises(CannotWrite, match="a part of the path is a file") as caught:
            write(tmp_path / "file" / "run" / "a.json")
        assert str(caught.value).startswith(str(tmp_path / "file" / "run" / "a.json"))
    with pytest.raises(CannotWrite) as caught, atomic_folder(tmp_path / "out"), atomic_file(tmp_path / "out2"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "free some space" in str(caught.value) and ".tmp" not in str(caught.value)
    with pytest.raises(FileNotFoundError), atomic_folder(tmp_path / "out"):
        (tmp_path.parent / "an input that is not there").read_text()


def test_a_secret_is_written_once_and_for_its_owner_alone(tmp_path):
    assert write_secret(tmp_path / "key", "first")
    assert not write_secret(tmp_path / "key", "second")
    assert (tmp_path / "key").read_text() == "first" and names(tmp_path) == ["key"]
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_a_folder_is_retired_as_a_whole(tmp_path):
    (tmp_path / "run" / "deep").mkdir(parents=True)
    retire_folder(tmp_path / "run")
    assert names(tmp_path) == []
