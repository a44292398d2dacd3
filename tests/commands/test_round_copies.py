"""No copy of one image is ever taken for that of another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundle.commands.round_copies import RoundCopies
from bundle.data.datalist import Datalist
from bundle.data.handover import handed_over
from bundle.run.table import write_csv

IDS = ("Иванов/1", "Петров/1", "王伟", "李娜")  # of which ASCII leaves 1, 1, nothing and nothing


@pytest.fixture
def datalist(tmp_path) -> Datalist:
    entries = []
    for number, name in enumerate(IDS):
        path = tmp_path / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(path)
        entries.append({"id": name, "image": f"{name}.png"})
    return Datalist("dermoscopy", tmp_path / "images", None, {"pool": tuple(entries)})


def copies_in(place: Path | None, *, link: bool = False) -> RoundCopies:
    return RoundCopies(place, link=link, strategy="random", seed=0)


@pytest.mark.parametrize("link", [False, True])
def test_copies_of_all_rounds_have_names_of_their_own(datalist, tmp_path, link):
    copies = copies_in(tmp_path / "copies", link=link)
    for number, name in enumerate(IDS):
        copies.add(number, [name], datalist, queried={name}, earlier=())
    found = copies.names(len(IDS))
    assert list(found.values()) == list(IDS) and len(found) == len(IDS)
    assert list(copies.names(1).values()) == list(IDS[:2]), "later rounds are not looked at"
    for number, name in enumerate(IDS):
        (row,) = handed_over(tmp_path / "copies" / f"round_{number}")
        assert np.asarray(Image.open(tmp_path / "copies" / f"round_{number}" / row["file"]))[0, 0, 0] == number
        assert found[Path(row["file"]).stem] == name


def test_what_is_new_comes_beside_what_is_there_and_what_is_there_stays(datalist, tmp_path):
    copies = copies_in(tmp_path)
    copies.add(0, [IDS[0]], datalist, queried=IDS[:1], earlier=())
    (first,) = handed_over(tmp_path / "round_0")
    (tmp_path / "round_0" / first["file"]).write_bytes(b"annotated")
    copies.add(0, IDS[1:3], datalist, queried=IDS[1:3], earlier=IDS[:1])
    rows = handed_over(tmp_path / "round_0")
    assert [(row["rank"], row["id"]) for row in rows] == [("1", IDS[0]), ("2", IDS[1]), ("3", IDS[2])]
    assert (tmp_path / "round_0" / first["file"]).read_bytes() == b"annotated"
    assert all((tmp_path / "round_0" / row["file"]).is_file() for row in rows)


def test_a_name_that_two_images_have_is_nobody_s(tmp_path, caplog):
    for number in (0, 1):
        row = {"rank": 1, "file": "0001_1.png", "id": IDS[number]}
        (tmp_path / f"round_{number}").mkdir()
        write_csv(tmp_path / f"round_{number}" / "images.csv", [row], ("rank", "file", "id"))
    assert copies_in(tmp_path).names(1) == {}
    assert "1 copies of different images have one name" in caplog.text
    assert copies_in(tmp_path).names(0) == {"0001_1": IDS[0]}


def test_copies_of_other_images_are_refused_and_left_alone(datalist, tmp_path):
    copies_in(tmp_path).add(0, IDS[:1], datalist, queried=IDS[:1], earlier=())
    before = handed_over(tmp_path / "round_0")
    with pytest.raises(ValueError, match="round 0 does not ask for, such as 'Иванов/1'"):
        copies_in(tmp_path).add(0, IDS[1:2], datalist, queried=IDS[1:2], earlier=())
    assert handed_over(tmp_path / "round_0") == before


def test_without_a_place_there_are_no_copies(datalist):
    copies = copies_in(None)
    copies.add(0, IDS, datalist, queried=IDS, earlier=())
    assert copies.names(3) == {}
