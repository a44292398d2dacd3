"""Groups of images, and the scores of each."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bundle.data.modality import load_modality
from bundle.segmentation.metrics import summarise
from bundle.segmentation.subgroups import CASE_COLUMNS, SMALLEST_GROUP, case_of, subgroups, summarise_groups

SKIN, CHEST = load_modality("dermoscopy"), load_modality("chest_xray")
WIDTH, HEIGHT = 96, 64  # of an image whose canvas has a quarter of padding above and below


def picture(colour: tuple[float, float, float]) -> tuple[torch.Tensor, torch.Tensor]:
    """A canvas of 48 pixels with a blue lesion on skin of one colour, black padding, and the lesion's mask."""
    lesion = torch.zeros(WIDTH, HEIGHT, dtype=torch.uint8)
    lesion[20:60, 10:40] = 1
    canvas = torch.zeros(3, 48, 48)
    canvas[:, :, 8:40] = torch.tensor(colour)[:, None, None]
    canvas[:, 10:30, 13:28] = torch.tensor([0.1, 0.1, 0.9])[:, None, None]
    return canvas, lesion


def case(identifier: str, **other: object) -> dict[str, object]:
    return {**dict.fromkeys(CASE_COLUMNS, ""), "id": identifier, "width": 8, "height": 8, **other}


def test_skin_is_told_by_the_colour_around_the_lesion_and_not_by_padding():
    light, dark = (case_of({"id": "a"}, *picture(c), SKIN) for c in ((0.95, 0.8, 0.7), (0.45, 0.3, 0.2)))
    assert (light["width"], light["height"]) == (WIDTH, HEIGHT) and light["site"] == ""
    assert light["ita"] > 41 and dark["ita"] < 10


def test_no_skin_is_sought_where_the_modality_shows_none():
    canvas, lesion = picture((0.9, 0.8, 0.7))
    found = case_of({"id": "a", "site": "Shenzhen"}, canvas[:1], lesion, CHEST)
    assert found["ita"] == "" and found["site"] == "Shenzhen" and tuple(found) == CASE_COLUMNS


def test_groups_are_of_those_who_tell_theirs_and_never_small():
    cases = [case(f"{i:02d}", site="ab"[i % 2], device="x", view="PA" if i < 2 else "AP") for i in range(12)]
    cases += [case("with no site", device="x", view="AP")]
    found = subgroups(cases)
    assert found["site"] == {site: [f"{i:02d}" for i in range(start, 12, 2)] for site, start in (("a", 0), ("b", 1))}
    assert "device" not in found and "image size" not in found, "a single group is none"
    assert list(found["view"]) == ["AP"] and len(found["view"]["AP"]) == 11 and SMALLEST_GROUP > 2


def test_sizes_are_thirds_and_tones_go_from_light_to_dark():
    cases = [case(f"{i:02d}", width=10 + i, ita=[-40, 60, 20][i % 3]) for i in range(15)]
    found = subgroups(cases)
    assert {name: len(ids) for name, ids in found["image size"].items()} == {
        "small third": 5,
        "middle third": 5,
        "large third": 5,
    }
    assert list(found["skin tone"]) == ["very light", "tan", "dark"]


def test_a_group_s_scores_are_the_summary_of_its_rows():
    rng = np.random.default_rng(0)
    rows = [{"id": f"{i:02d}", **{n: float(rng.random()) for n in ("dice", "jaccard", "hd95")}} for i in range(12)]
    groups = subgroups(case(row["id"], site="ab"[i % 2]) for i, row in enumerate(rows))
    first, second = summarise_groups(rows, groups, seed=3)
    own = summarise(rows[::2], seed=3)
    assert (first["kind"], first["group"], first["images"]) == ("site", "a", 6) and second["group"] == "b"
    assert first["dice"] == own["dice"]["mean"] == pytest.approx(np.mean([r["dice"] for r in rows[::2]]), abs=1e-5)
    assert (first["dice_low"], first["dice_high"]) == (own["dice"]["low"], own["dice"]["high"])
