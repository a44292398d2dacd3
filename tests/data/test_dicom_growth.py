"""A small DICOM file that claims to be a huge one takes no memory."""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless

from bundle.data.dicom import is_dicom, parse, read_dicom, read_header
from bundle.data.dicom_growth import MOST_INFLATED, coded_pixels
from bundle.data.pictures import UnreadableImage
from bundle.segmentation.dicom_source import read_source
from tests.segmentation.dicom_objects import image

SIDE = 65_000
SIZE = struct.pack(">2H8I", 47, 0, SIDE, SIDE, 0, 0, SIDE, SIDE, 0, 0)
CLAIMS = {  # the beginning of a stream of SIDE x SIDE pixels
    "jpeg": (JPEGBaseline8Bit, b"\xff\xd8\xff\xe0\x00\x04ab\xff\xff\xc0\x00\x0b\x08" + struct.pack(">2H", SIDE, SIDE)),
    "jpeg_ls": (JPEGLSLossless, b"\xff\xd8\xff\xf7\x00\x0b\x08" + struct.pack(">2H", SIDE, SIDE)),
    "jpeg_2000": (JPEG2000Lossless, b"\xff\x4f\xff\x51" + SIZE),
    "jpeg_2000_in_boxes": (JPEG2000Lossless, b"\x00\x00\x00\x0cjP  \r\n\x87\n" + b"\xff\x4f\xff\x51" + SIZE),
}


@pytest.fixture
def radiograph(tmp_path):
    return image(tmp_path / "cr.dcm", np.arange(37 * 53, dtype=np.uint16).reshape(37, 53), PixelSpacing=[0.2, 0.1])


@pytest.fixture
def deflated_bomb(radiograph, tmp_path):
    """A deflated radiograph with a private tag of as many zeros as makes it too large, in less than a megabyte."""
    dataset = pydicom.dcmread(radiograph)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    small = tmp_path / "small.dcm"
    dataset.save_as(small)
    content = small.read_bytes()
    begin = 128 + 4 + 12 + pydicom.dcmread(small).file_meta.FileMetaInformationGroupLength
    body = zlib.decompress(content[begin:], -zlib.MAX_WBITS)
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    tag = struct.pack("<2H2sHI", 0x0009, 0x1001, b"OB", 0, MOST_INFLATED)
    parts = [packer.compress(tag)]
    parts += [packer.compress(bytes(1 << 20)) for _ in range(MOST_INFLATED >> 20)]
    parts.append(packer.compress(bytes(MOST_INFLATED % (1 << 20)) + body) + packer.flush())
    bomb = tmp_path / "bomb.dcm"
    bomb.write_bytes(content[:begin] + b"".join(parts))
    assert bomb.stat().st_size < 1 << 20
    return bomb


@pytest.mark.parametrize("read", [read_dicom, read_header, read_source, parse])
def test_a_deflated_bomb_is_refused_by_its_size_in_little_memory(deflated_bomb, read):
    tracemalloc.start()
    with pytest.raises(UnreadableImage, match=f"above the limit of {MOST_INFLATED} bytes"):
        read(deflated_bomb)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def test_a_bomb_without_a_preamble_is_refused_as_well(deflated_bomb, tmp_path):
    bare = tmp_path / "bare.dcm"
    bare.write_bytes(deflated_bomb.read_bytes()[132:])
    tracemalloc.start()
    assert not is_dicom(bare)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("form", CLAIMS)
def test_a_compressed_picture_that_claims_more_than_its_tags_is_refused_before_it_is_decoded(radiograph, form):
    syntax, stream = CLAIMS[form]
    dataset = pydicom.dcmread(radiograph)
    dataset.PixelData = encapsulate([stream + bytes(200)])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(radiograph)
    with pytest.raises(UnreadableImage, match=f"compressed picture of {SIDE * SIDE} pixels is above"):
        read_dicom(radiograph)


@pytest.mark.real
def test_real_compressed_pictures_claim_what_their_tags_tell(real_data):
    found = {}
    for path in sorted((real_data / "dicom").rglob("*.dcm")):
        dataset = pydicom.dcmread(path, force=True)
        syntax = dataset.file_meta.get("TransferSyntaxUID")
        if syntax is None or not syntax.is_encapsulated or syntax.name.startswith("RLE") or "PixelData" not in dataset:
            continue
        found[path.name] = coded_pixels(dataset.PixelData) == dataset.Rows * dataset.Columns
    assert len(found) > 5
    assert [name for name, equal in found.items() if not equal] == []
