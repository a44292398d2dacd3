"""Notes on images are kept by id, one key beside the other, for every process of the server."""

from __future__ import annotations

import json

from bundle.label.notes import Notes


def test_a_note_replaces_what_its_key_said_and_nothing_else(tmp_path):
    notes = Notes(tmp_path / "notes.json")
    assert notes.of("a") == {}
    notes.add("a", {"skip": True, "user": "x"})
    notes.add("b", {"skip": True})
    notes.add("a", {"skip": False})
    again = Notes(tmp_path / "notes.json")
    assert again.of("a") == {"skip": False, "user": "x"} and again.of("b") == {"skip": True}


def test_the_file_is_parsed_once_until_another_process_changes_it(tmp_path, monkeypatch):
    notes, other = Notes(tmp_path / "notes.json"), Notes(tmp_path / "notes.json")
    notes.add("a", {"skip": True})
    parsed = []
    loads = json.loads
    monkeypatch.setattr(json, "loads", lambda text: parsed.append(text) or loads(text))
    assert [notes.of(identifier) for identifier in "aab"] == [{"skip": True}, {"skip": True}, {}]
    assert len(parsed) == 1
    other.add("b", {"skip": True})
    parsed.clear()
    assert notes.of("b") == {"skip": True} and notes.of("a") == {"skip": True}
    assert len(parsed) == 1


def test_what_is_told_of_an_image_is_the_caller_s_own(tmp_path):
    notes = Notes(tmp_path / "notes.json")
    notes.add("a", {"skip": True})
    notes.of("a")["user"] = "x"
    assert notes.of("a") == {"skip": True}
