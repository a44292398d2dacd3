"""A zip archive gives its files and nothing else: no way out of its folder, no flood, no half of a file."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest

from bundle.data import archive
from bundle.data.archive import unpack
from bundle.data.pictures import UnreadableImage


@pytest.fixture
def make_zip(tmp_path):
    """``make_zip({name: bytes}, name=...)`` writes an archive and gives its path."""

    def make(members: dict[str, bytes], name: str = "export.zip", compression: int = zipfile.ZIP_DEFLATED) -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", compression) as opened:
            for member, content in members.items():
                opened.writestr(member, content)
        return path

    return make


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != archive.MARK)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_files_come_out_as_they_went_in_for_the_owner_alone(make_zip, tmp_path):
    members = {"a/b/IM1": b"one", "IM2.dcm": b"two" * 1000, "empty": b""}
    assert unpack(make_zip(members), tmp_path / "out") == []
    assert content(tmp_path / "out") == members
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "name",
    [
        *("../out.dcm", "a/../../out.dcm", "/etc/out.dcm", "C:/out.dcm", "a/" + "x" * 256),
        *(
            "..\\out.dcm",
            "a\\..\\..\\out.dcm",
            "\\etc\\out.dcm",
            "\\\\host\\out.dcm",
            "C:\\out.dcm",
            "a/..\\../out.dcm",
        ),
    ],
)
def test_a_name_that_leads_elsewhere_is_left_out_and_the_others_stay(make_zip, tmp_path, name):
    place = tmp_path / "inner" / "out"
    ((told, reason),) = unpack(make_zip({"a/good": b"1", name: b"2"}), place)
    assert told == name and ("leads out" in reason or "longer" in reason)
    assert content(place) == {"a/good": b"1"}
    assert not list(tmp_path.rglob("*out.dcm"))


def test_a_backslash_parts_folders_as_old_systems_write_it(make_zip, tmp_path):
    members = {"ward\\": b"", "ward\\IM1": b"1", "ward\\deep\\IM2": b"2", "ward/IM3": b"3", "ward\\IM3": b"twice"}
    left_out = unpack(make_zip(members), tmp_path / "out")
    assert left_out == [("ward\\IM3", "another member has its name")]
    assert content(tmp_path / "out") == {"ward/IM1": b"1", "ward/deep/IM2": b"2", "ward/IM3": b"3"}


def test_links_are_not_made(tmp_path):
    path = tmp_path / "links.zip"
    with zipfile.ZipFile(path, "w") as opened:
        link = zipfile.ZipInfo("link.dcm")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(link, "/etc/passwd")
    assert unpack(path, tmp_path / "out") == [("link.dcm", "it is a link or a device")]
    assert content(tmp_path / "out") == {}


def test_an_encrypted_or_damaged_member_is_left_out_and_the_others_stay(make_zip, tmp_path):
    path = make_zip({"good": b"1" * 100, "damaged": b"2" * 100}, compression=zipfile.ZIP_STORED)
    whole = bytearray(path.read_bytes())
    whole[whole.index(b"2" * 100) + 5] ^= 1
    path.write_bytes(whole)
    ((name, reason),) = unpack(path, tmp_path / "out")
    assert name == "damaged" and "damaged" in reason
    assert content(tmp_path / "out") == {"good": b"1" * 100}
    whole[whole.rindex(b"PK\x01\x02") + 8] |= 1  # the flag of encryption in the central directory
    path.write_bytes(whole)
    assert unpack(path, tmp_path / "out") == [("damaged", "it is encrypted")], "another archive takes the place"


def test_a_file_and_a_folder_of_one_name_do_not_both_come_out(tmp_path):
    path = tmp_path / "clash.zip"
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("a", b"file")
        opened.writestr("a/b", b"below a file")
        opened.writestr("c/d", b"1")
        opened.writestr("c", b"a folder is there")
    left_out = unpack(path, tmp_path / "out")
    assert left_out == [("a/b", "another member has its name"), ("c", "another member has its name")]
    assert content(tmp_path / "out") == {"a": b"file", "c/d": b"1"}


def test_a_bomb_is_refused_before_a_byte_is_written(make_zip, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "ALWAYS_ALLOWED", 1 << 20)
    path = make_zip({f"{number}": bytes(1 << 20) for number in range(4)})
    with pytest.raises(UnreadableImage, match="would grow to 4194304 bytes"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(archive, "MOST_MEMBERS", 3)
    with pytest.raises(UnreadableImage, match="may hold 3 files"):
        unpack(path, tmp_path / "out")


def test_a_member_that_declares_less_than_it_holds_gives_no_more_than_that(make_zip, tmp_path):
    path = make_zip({"liar": bytes(100_000)})
    whole = bytearray(path.read_bytes())
    place = whole.rindex(b"PK\x01\x02")
    whole[place + 24 : place + 28] = (10).to_bytes(4, "little")
    path.write_bytes(whole)
    assert unpack(path, tmp_path / "out")[0][0] == "liar"
    assert content(tmp_path / "out") == {}


@pytest.mark.parametrize("damage", [b"no archive at all", b"PK\x03\x04 cut short", b""])
def test_what_is_no_archive_is_refused(tmp_path, damage):
    path = tmp_path / "broken.zip"
    path.write_bytes(damage)
    with pytest.raises(UnreadableImage, match="broken or cut short"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_told_with_what_is_needed(make_zip, tmp_path, monkeypatch):
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 5})())
    with pytest.raises(OSError, match=r"needs 10 bytes, .* has 5"):
        unpack(make_zip({"a": b"0123456789"}), tmp_path / "out")


def test_the_same_archive_is_not_unpacked_twice(make_zip, tmp_path):
    path = make_zip({"a": b"1", "../b": b"2"})
    first = unpack(path, tmp_path / "out")
    before = (tmp_path / "out" / "a").stat().st_ino
    assert unpack(path, tmp_path / "out") == first == [("../b", "its name leads out of the archive")]
    assert (tmp_path / "out" / "a").stat().st_ino == before
