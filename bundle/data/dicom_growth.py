"""What a DICOM file would grow to in memory, told before anything of it is unpacked.

Two places hold far more than the file's own size tells: a data set that is deflated as a whole (PS3.5 A.5), and a
compressed picture whose own header claims other dimensions than the tags Rows and Columns.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from pydicom.filereader import _read_file_meta_info, read_preamble  # what dcmread itself begins with
from pydicom.uid import DeflatedExplicitVRLittleEndian

from bundle.data.pictures import MAX_PIXELS, UnreadableImage

MOST_INFLATED = 8 * MAX_PIXELS  # bytes: the largest picture, three colours of 16 bits, and its header
_CHUNK = 1 << 20
_LONGEST_HEADER = 1 << 16  # of a compressed picture, within which its dimensions have to be told
_ITEM = b"\xfe\xff\x00\xe0"
_JPEG = b"\xff\xd8"  # SOI
_JPEG_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # markers SOFn (ITU T.81 B.1.1.3) and JPEG-LS's
_JPEG_2000_SIZE = b"\xff\x4f\xff\x51"  # SOC and SIZ (ITU T.800 A.5.1), which HTJ2K shares
_JPEG_2000_FILE = b"\x00\x00\x00\x0cjP  "  # JP2 boxes around it, which PS3.5 forbids and some write


def check_inflation(path: str | os.PathLike[str]) -> None:
    """Refuse a deflated data set that would inflate beyond ``MOST_INFLATED``; no more than a chunk is held.

    Raises:
        UnreadableImage: it would.
    """
    with Path(path).open("rb") as handle:
        read_preamble(handle, force=True)
        if _read_file_meta_info(handle).get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return
        inflater, left, waiting = zlib.decompressobj(-zlib.MAX_WBITS), MOST_INFLATED, b""
        while not inflater.eof and (waiting := waiting or handle.read(_CHUNK)):
            left -= len(inflater.decompress(waiting, _CHUNK))
            waiting = inflater.unconsumed_tail
            if left < 0:
                raise UnreadableImage(path, f"the deflated data set is above the limit of {MOST_INFLATED} bytes")


def coded_pixels(encapsulated: bytes) -> int:
    """The most rows times columns that a compressed picture in encapsulated Pixel Data claims (PS3.5 A.4).

    Known are JPEG, JPEG-LS and JPEG 2000; 0 where none of them tells any.
    """
    return max((_claimed(head) for head in _heads(encapsulated)), default=0)


def _heads(encapsulated: bytes) -> Iterator[bytes]:
    """How each fragment begins; the first item, the table of offsets, is none."""
    at = 0
    while encapsulated[at : at + 4] == _ITEM and at + 8 <= len(encapsulated):
        (length,) = struct.unpack_from("<I", encapsulated, at + 4)
        if at:
            yield encapsulated[at + 8 : at + 8 + min(length, _LONGEST_HEADER)]
        at += 8 + length


def _claimed(head: bytes) -> int:
    size = head.find(_JPEG_2000_SIZE) if head.startswith((_JPEG_2000_SIZE, _JPEG_2000_FILE)) else -1
    if size >= 0 and len(head) >= size + 24:
        right, bottom, left, top = struct.unpack_from(">4I", head, size + 8)
        return max(0, right - left) * max(0, bottom - top)
    at = 2
    while head[:2] == _JPEG and at + 9 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if marker in _JPEG_FRAMES:
            rows, columns = struct.unpack_from(">2H", head, at + 5)
            return int(rows * columns)
        # Markers may be preceded by any number of fill bytes, FF.
        at += 1 if marker == 0xFF else 2 + struct.unpack_from(">H", head, at + 2)[0]
    return 0
