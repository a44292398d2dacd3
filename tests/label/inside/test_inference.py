"""What a client may ask of a drawing's file."""

from __future__ import annotations

import pytest

from bundle.label.inference import RESULTS, check_result
from bundle.label.uploads import Refused


@pytest.mark.parametrize(
    "asked",
    [
        {"result_extension": ".foo"},
        {"result_extension": "png"},
        {"result_extension": ".jpg"},
        {"result_extension": [".png"]},
        {"result_dtype": "nonsense"},
        {"result_extension": ".png", "result_dtype": "float32"},
        {"result_extension": ".nrrd", "result_dtype": "int64"},
    ],
)
def test_a_result_that_cannot_be_written_or_would_be_no_label_is_refused(asked):
    with pytest.raises(Refused, match="must be one of") as refused:
        check_result(asked, ".png")
    assert refused.value.status_code == 400


def test_what_viewers_ask_for_is_given():
    check_result({}, ".png")
    check_result({"result_extension": "", "result_dtype": None}, ".nii.gz")
    for dtype in ("uint8", "uint16"):  # OHIF's
        check_result({"result_extension": ".nrrd", "result_dtype": dtype}, ".nii.gz")


@pytest.mark.parametrize("suffix", RESULTS)
def test_every_result_is_written_by_what_writes_results(suffix, tmp_path):
    import itk
    import numpy as np

    for dtype in RESULTS[suffix]:
        itk.imwrite(itk.image_from_array(np.eye(7, 5).astype(dtype)), str(tmp_path / f"mask{suffix}"), False)
        assert (tmp_path / f"mask{suffix}").stat().st_size
