"""The typology angle is that of published colours."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bundle.segmentation.skin_tone import LEAST, lab, tone, typology_angle


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [  # CIE L*a*b* of sRGB primaries for D65, as colour tables have them
        ((1.0, 1.0, 1.0), (100.0, 0.0, 0.0)),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
        ((1.0, 0.0, 0.0), (53.24, 80.09, 67.20)),
        ((0.0, 1.0, 0.0), (87.73, -86.18, 83.18)),
        ((0.0, 0.0, 1.0), (32.30, 79.19, -107.86)),
    ],
)
def test_colours_are_those_of_the_tables(rgb, expected):
    np.testing.assert_allclose(lab(np.array(rgb)), expected, atol=0.05)


def test_the_angle_is_of_the_skin_without_lesion_and_without_vignette():
    picture = np.full((20, 20, 3), (0.93, 0.78, 0.70))
    lightness, _, yellow = lab(picture[0, 0])
    expected = math.degrees(math.atan((lightness - 50) / yellow))
    lesion = np.zeros((20, 20), dtype=bool)
    picture[5:10, 5:10], lesion[5:10, 5:10] = (0.3, 0.2, 0.1), True
    picture[:3, :3] = 0.0
    assert typology_angle(picture, lesion) == pytest.approx(expected)
    assert tone(expected) == "very light"


def test_too_little_skin_has_no_tone():
    picture = np.full((LEAST - 1, 3), 0.8)
    assert math.isnan(typology_angle(picture, np.zeros(LEAST - 1, dtype=bool)))
    assert tone(math.nan) == "unknown"


def test_tones_are_bounded_as_published():
    assert [tone(angle) for angle in (56, 55, 41, 28, 10, -30)] == [
        "very light",
        "light",
        "intermediate",
        "tan",
        "brown",
        "dark",
    ]
