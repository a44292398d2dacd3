"""Whatever stops a run: no half-written file under its name, and the same command ends as if nothing had happened."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import pytest

from bundle.benchmark.drill import differences, result_of, run_apart
from bundle.commands import run_verb

from .sabotage import full_disk_at, kill_at, limit_file_size, watched
from .stages import CLAIMED, STAGES, arguments


def ended_well(stage: str, code: int, said: str) -> bool:
    """Whether a stage that is run again has done its work, or says that it had been done before."""
    return code == 0 or (code == 2 and stage not in CLAIMED and "already there" in said)


@pytest.mark.parametrize("stage", STAGES)
def test_a_disk_that_is_full_at_any_write_is_told_and_the_same_command_ends_as_undisturbed(
    stage, stocked, undisturbed, tmp_path, capsys
):
    wanted = undisturbed(stage)
    with watched(tmp_path, lambda _: None) as writes:
        assert run_verb(stage, arguments(stage, stocked, tmp_path / "counted")) == 0
    assert writes
    step = max(1, len(writes) // 6)  # inference writes a mask an image, and one is as the next
    for number in sorted({*range(1, len(writes) + 1, step), len(writes)}):
        out = tmp_path / f"full_{number}"
        capsys.readouterr()
        with watched(out.parent, full_disk_at(number)):
            assert run_verb(stage, arguments(stage, stocked, out)) == 2, writes[number - 1]
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith(f"{stage}: {tmp_path}") and "No space left" in error and "free some space" in error
        assert ".tmp" not in error, "a name that nobody finds"
        left = result_of(out) if out.exists() else {}
        assert not [name for name in left if "/." in f"/{name}"], "no temporary file is left"
        if number in (1, len(writes)) or number % (2 * step):  # of neighbours the later has all that the earlier had
            assert run_verb(stage, arguments(stage, stocked, out)) == 0
            assert differences(wanted, result_of(out)) == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_stage_ends_as_undisturbed_when_it_is_run_again(stage, stocked, undisturbed, tmp_path):
    wanted, log = undisturbed(stage), tmp_path / "log"
    with watched(tmp_path, lambda _: None, every_step=True) as steps:
        assert run_verb(stage, arguments(stage, stocked, tmp_path / "counted")) == 0
    for third in (1, 2):
        out = tmp_path / f"killed_{third}"
        options = {"prepare": kill_at, "prepare_with": (tmp_path / out.name, max(1, len(steps) * third // 3))}
        died = run_apart(stage, arguments(stage, stocked, out), log=log, **options)
        assert died == -signal.SIGKILL, log.read_text()
        ended = run_apart(stage, arguments(stage, stocked, out), log=log)
        assert ended_well(stage, ended, log.read_text()), log.read_text()
        assert differences(wanted, result_of(out)) == []


def test_a_kill_between_copies_and_selection_costs_neither(stocked, undisturbed, tmp_path):
    """Two folders cannot appear at one moment, so this one is looked at on its own."""
    verb, out, log = "select_samples", tmp_path / "out", tmp_path / "log"
    with watched(out, lambda _: None, every_step=True) as steps:
        assert run_verb(verb, arguments(verb, stocked, out)) == 0
    last = max(i for i, step in enumerate(steps, 1) if step.startswith("os.rename") and step.endswith("/selection"))
    out = tmp_path / "again"
    died = run_apart(verb, arguments(verb, stocked, out), log=log, prepare=kill_at, prepare_with=(out, last))
    assert died == -signal.SIGKILL and (out / "copies").exists() and not (out / "selection").exists()
    another = [word if word != "4" else "3" for word in arguments(verb, stocked, out)]
    assert run_verb(verb, another) == 2, "the copies of another request stay"
    assert run_verb(verb, arguments(verb, stocked, out)) == 0
    assert differences(undisturbed(verb), result_of(out)) == []


@pytest.mark.parametrize("stage", ["train", "embed", "select_samples", "infer"])
def test_a_file_that_is_cut_off_in_the_middle_never_gets_its_name(stage, stocked, undisturbed, tmp_path):
    out, log = tmp_path / "out", tmp_path / "log"
    sizes = {"train": 100_000, "embed": 5_000, "select_samples": 2_000, "infer": 300}
    limited = run_apart(
        stage, arguments(stage, stocked, out), log=log, prepare=limit_file_size, prepare_with=(sizes[stage],)
    )
    error = log.read_text().strip().splitlines()[-1]
    assert limited == 2 and error.startswith(f"{stage}: ") and "ulimit -f" in error, log.read_text()
    assert run_verb(stage, arguments(stage, stocked, out)) == 0
    assert differences(undisturbed(stage), result_of(out)) == []


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a file system can be mounted by root alone")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize("stage", ["train", "embed"])
def test_a_disk_that_is_full_is_told_with_path_and_remedy_and_may_be_enlarged(
    stage, stocked, undisturbed, small_disk, capsys
):
    (small_disk / "ballast").write_bytes(bytes(56_000))
    out = small_disk / "out"
    assert run_verb(stage, arguments(stage, stocked, out)) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"{stage}: {out}") and "No space left" in error and "free some space" in error
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    assert run_verb(stage, arguments(stage, stocked, out)) == 0
    assert differences(undisturbed(stage), result_of(out)) == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_place_that_is_read_only_is_told_before_any_work(stage, stocked, small_disk, capsys):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert run_verb(stage, arguments(stage, stocked, small_disk / "out")) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"{stage}: {small_disk}") and "Read-only" in error and "can be written to" in error


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_already_there_is_not_touched_without_overwrite(stage, stocked, tmp_path, capsys):
    out = tmp_path / "out"
    assert run_verb(stage, arguments(stage, stocked, out)) == 0
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.rglob("*") if path.is_file()}
    words = arguments(stage, stocked, out)
    if stage in CLAIMED:
        words += ["--set", "precision=bf16"]
    assert run_verb(stage, words) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.match(rf"{stage}: {tmp_path}\S* is already there", error) and "--overwrite" in error
    assert before == {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in out.rglob("*") if p.is_file()}


def test_a_request_that_failed_before_it_made_anything_may_be_corrected(stocked, tmp_path, capsys):
    out: Path = tmp_path / "out"
    wrong = [w if not w.endswith("model.pt") else "absent.pt" for w in arguments("evaluate", stocked, out)]
    assert run_verb("evaluate", wrong) == 2 and "absent.pt" in capsys.readouterr().err
    assert run_verb("evaluate", arguments("evaluate", stocked, out)) == 0
