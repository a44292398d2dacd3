"""Ids: the same for the same file, different for different ones, and nothing of a patient can be read in them."""

from __future__ import annotations

import hashlib
import hmac
import stat

import numpy as np
import pytest

from bundle.data.frames import frame_path
from bundle.data.identity import DIGITS, Pseudonyms, derive_id, group_by_rule, identify_dicom, strip_suffix

PIXELS = np.arange(64, dtype=np.uint16).reshape(8, 8)


@pytest.mark.parametrize(
    ("path", "identifier"),
    [
        ("a.png", "a"),
        ("b/c.JPG", "b/c"),
        ("b/c.nii.gz", "b/c"),
        ("v1.2/c.d.tif", "v1.2/c.d"),
        ("1.2.840.113619", "1.2.840.113619"),
        ("1.2.840.113619.dcm", "1.2.840.113619"),
        ("b/.png", "b/.png"),
    ],
)
def test_id_is_the_path_below_the_root_without_the_suffix_of_a_format(tmp_path, path, identifier):
    assert derive_id(tmp_path / path, tmp_path) == identifier
    assert strip_suffix(path) == identifier


def test_an_image_outside_the_root_has_no_id(tmp_path):
    with pytest.raises(ValueError, match="below the data root"):
        derive_id(tmp_path / "a.png", tmp_path / "b")


def test_key_is_private_and_made_once(tmp_path):
    key = tmp_path / "run" / "identity.key"
    first = Pseudonyms(key).of("patient", "MRN-4711")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    content = key.read_text()
    assert Pseudonyms(key).of("patient", "MRN-4711") == first
    assert key.read_text() == content


def test_pseudonym_is_an_hmac_and_needs_the_key(tmp_path):
    pseudonym = Pseudonyms(tmp_path / "a.key").of("patient", "MRN-4711")
    key = bytes.fromhex((tmp_path / "a.key").read_text())
    assert len(key) == 32
    assert pseudonym == hmac.new(key, b"patient\0MRN-4711", hashlib.sha256).hexdigest()[:DIGITS]
    assert Pseudonyms(tmp_path / "b.key").of("patient", "MRN-4711") != pseudonym
    assert Pseudonyms(tmp_path / "a.key").of("image", "MRN-4711") != pseudonym


def test_no_key_is_made_where_none_is_needed(tmp_path):
    assert Pseudonyms(tmp_path / "a.key", keep=True).of("patient", "MRN-4711") == "MRN-4711"
    assert not (tmp_path / "a.key").exists()


def test_a_broken_key_is_refused(tmp_path):
    (tmp_path / "a.key").write_text("abc")
    with pytest.raises(ValueError, match="at least 32 hex digits"):
        Pseudonyms(tmp_path / "a.key").of("patient", "x")


def test_images_of_one_patient_share_its_tie_and_not_the_id(write_dicom, tmp_path):
    pseudonyms = Pseudonyms(tmp_path / "a.key")
    one, (one_patient, one_study) = identify_dicom(write_dicom(PIXELS, name="1"), pseudonyms)
    two, (two_patient, two_study) = identify_dicom(write_dicom(PIXELS, name="2", StudyInstanceUID="1.2.3"), pseudonyms)
    _, (other_patient, _) = identify_dicom(write_dicom(PIXELS, name="3", PatientID="MRN-4712"), pseudonyms)
    assert one != two
    assert one_patient == two_patient != other_patient and one_study != two_study


def test_without_a_patient_the_study_is_the_tie(write_dicom, tmp_path):
    pseudonyms = Pseudonyms(tmp_path / "a.key")
    tags = {"PatientID": "", "StudyInstanceUID": "1.2.3"}
    groups = {identify_dicom(write_dicom(PIXELS, name=name, **tags), pseudonyms)[1] for name in "ab"}
    assert len(groups) == 1
    bare = write_dicom(PIXELS, name="c", PatientID="", StudyInstanceUID="")
    assert identify_dicom(bare, pseudonyms)[1] == ()
    frames = [identify_dicom(frame_path(bare, number), pseudonyms) for number in (1, 2)]
    assert len({identifier for identifier, _ in frames}) == 2
    assert frames[0][1] == frames[1][1] != (), "frames of a file are one patient's, whoever that is"


def test_without_a_uid_the_id_is_of_the_content(write_dicom, tmp_path):
    pseudonyms = Pseudonyms(tmp_path / "a.key")
    first = write_dicom(PIXELS, name="a", SOPInstanceUID="", StudyInstanceUID="1.2.3")
    second = write_dicom(PIXELS + 1, name="b", SOPInstanceUID="", StudyInstanceUID="1.2.3")
    assert identify_dicom(first, pseudonyms)[0] == identify_dicom(first, pseudonyms)[0]
    assert identify_dicom(first, pseudonyms)[0] != identify_dicom(second, pseudonyms)[0]


@pytest.mark.parametrize(
    ("rule", "group"), [(r"(P\d+)_", "P12"), (r"P\d+", "P12"), (r"^(\w+)/", "site"), (r"Q\d", None), (r"(Q)?_3", None)]
)
def test_group_rule_is_the_first_capture_group_or_the_whole_match(rule, group):
    assert group_by_rule("site/P12_3", rule) == group


def test_a_broken_group_rule_is_refused():
    with pytest.raises(ValueError, match="regular expression"):
        group_by_rule("a", "(")
