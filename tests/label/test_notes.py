"""Notes on images are kept by id, one key beside the other, for every process of the server."""

from __future__ import annotations

from bundle.label.notes import Notes


def test_a_note_replaces_what_its_key_said_and_nothing_else(tmp_path):
    notes = Notes(tmp_path / "notes.json")
    assert notes.of("a") == {}
    notes.add("a", {"skip": True, "user": "x"})
    notes.add("b", {"skip": True})
    notes.add("a", {"skip": False})
    again = Notes(tmp_path / "notes.json")
    assert again.of("a") == {"skip": False, "user": "x"} and again.of("b") == {"skip": True}
