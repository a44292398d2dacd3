"""Work is done once, whoever asks, and a dead worker's work is taken over."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time

import pytest

from bundle.benchmark.claims import Claims


def age(folder, seconds):
    for path in folder.iterdir():
        os.utime(path, (time.time() - seconds, time.time() - seconds))


def compete(folder, results, works, barrier):
    claims = Claims(folder)
    barrier.wait()
    while left := [work for work in works if not (results / work).exists()]:
        for work in left:
            with claims.hold(work) as mine:
                if mine and not (results / work).exists():
                    with (results / f"{work}.log").open("a", encoding="utf-8") as handle:
                        handle.write(f"{os.getpid()}\n")
                    (results / work).touch()


def test_processes_that_share_a_folder_do_every_work_once(tmp_path):
    results, works = tmp_path / "results", [f"work{number}" for number in range(40)]
    results.mkdir()
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(4)
    workers = [
        context.Process(target=compete, args=(tmp_path / "claims", results, works, barrier), daemon=True)
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    logs = [(results / f"{work}.log").read_text(encoding="utf-8").splitlines() for work in works]
    assert [len(log) for log in logs] == [1] * len(works)
    assert not list((tmp_path / "claims").iterdir())


def test_a_claim_is_held_by_one_and_free_again_afterwards(tmp_path):
    first, second = Claims(tmp_path), Claims(tmp_path)
    with first.hold("a") as mine:
        assert mine
        with second.hold("a") as theirs, second.hold("b") as other:
            assert not theirs and other
    with second.hold("a") as mine:
        assert mine


def test_a_claim_is_given_back_when_the_work_fails(tmp_path):
    with pytest.raises(RuntimeError), Claims(tmp_path).hold("a"):
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_a_dead_claim_is_taken_over_by_exactly_one(tmp_path):
    (tmp_path / "a.3").touch()
    with Claims(tmp_path, expiry=100).hold("a") as mine:
        assert not mine
    age(tmp_path, 101)
    barrier, end, won = threading.Barrier(8), threading.Barrier(8), []

    def take():
        barrier.wait()
        with Claims(tmp_path, expiry=100).hold("a") as mine:
            won.append(mine)
            end.wait()

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 7 + [True]
    assert not list(tmp_path.iterdir())


def test_a_claim_lives_as_long_as_its_holder_works(tmp_path):
    with Claims(tmp_path, beat=0.05, expiry=100).hold("a") as mine:
        assert mine
        age(tmp_path, 101)
        deadline = time.monotonic() + 60
        while Claims(tmp_path, expiry=100)._dead(tmp_path / "a.0") and time.monotonic() < deadline:
            time.sleep(0.05)
        with Claims(tmp_path, expiry=100).hold("a") as theirs:
            assert not theirs


def test_a_waiting_one_gets_the_work_when_the_holder_is_dead(tmp_path):
    (tmp_path / "a.0").touch()
    age(tmp_path, 1000)
    with Claims(tmp_path, expiry=1).wait("a"):
        assert [path.name for path in tmp_path.iterdir()] == ["a.1"]
