"""Bad input is named, set aside and counted."""

from __future__ import annotations

import csv
import logging

from bundle.run.quarantine import Quarantine


def rows(path):
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_names_the_path_below_the_root_and_the_reason_on_one_line(tmp_path, caplog):
    aside = Quarantine(tmp_path)
    aside.add(tmp_path / "sub" / "a, b.png", "cannot be decoded:\n  truncated")
    aside.add("/elsewhere/c.png", 'has "quotes"')
    with caplog.at_level(logging.WARNING):
        path = aside.write(tmp_path / "out")
    assert rows(path) == [
        {"path": "sub/a, b.png", "reason": "cannot be decoded: truncated"},
        {"path": "/elsewhere/c.png", "reason": 'has "quotes"'},
    ]
    assert "2 set aside" in caplog.text and str(path) in caplog.text


def test_a_table_in_a_folder_with_a_temporary_name_is_told_by_the_name_that_it_will_have(tmp_path, caplog):
    aside = Quarantine()
    aside.add("a.png", "cut")
    assert aside.write(tmp_path / ".out.tmp", becomes=tmp_path / "out") == tmp_path / ".out.tmp" / "quarantine.csv"
    assert str(tmp_path / "out" / "quarantine.csv") in caplog.text and ".tmp" not in caplog.text


def test_counts_by_kind_of_reason():
    aside = Quarantine()
    for name, reason in (("a", "broken: x"), ("b", "broken: y"), ("c", "copy of d")):
        aside.add(name, reason)
    assert len(aside) == 3
    assert aside.summary() == "3 set aside (2 × broken, 1 × copy of d)"


def test_a_summary_tells_the_most_frequent_kinds_and_how_many_more_there_are():
    aside = Quarantine()
    for number in range(11):
        for _ in range(20 - number):
            aside.add("a", f"kind {number}: x")
    summary = aside.summary()
    assert summary.startswith("165 set aside (20 × kind 0, ") and summary.endswith(", 13 × kind 7, and 3 more kinds)")
    assert len(aside.counts()) == 11


def test_writes_an_empty_table_over_an_old_one_and_warns_of_nothing(tmp_path, caplog):
    aside = Quarantine()
    aside.add("a", "broken")
    aside.write(tmp_path)
    caplog.clear()
    path = Quarantine().write(tmp_path)
    assert path.read_text(encoding="utf-8") == "path,reason\n"
    assert not caplog.records
    assert Quarantine().summary() == "0 set aside"


def test_a_later_step_adds_to_what_an_earlier_one_has_set_aside(tmp_path):
    for path in ("a.png", "b.png"):
        aside = Quarantine()
        aside.add(path, f"reason, of {path}")
        aside.append(tmp_path)
    text = (tmp_path / "quarantine.csv").read_text()
    assert text.splitlines() == ["path,reason", 'a.png,"reason, of a.png"', 'b.png,"reason, of b.png"']
