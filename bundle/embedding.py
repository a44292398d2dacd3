"""The only bridge from images to selection: one vector an image, under the image's id.

On disk embeddings are a folder::

    embeddings/
        vectors.npy        (N, D) float32, C order
        ids.txt            N lines, UTF-8: line i names row i
        provenance.json    where the vectors come from (weights, section, preprocessing)
"""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.run.atomic import atomic_folder

VECTORS_FILE = "vectors.npy"
IDS_FILE = "ids.txt"
PROVENANCE_FILE = "provenance.json"

# The square of a larger entry, summed over the dimensions, may leave the range of float32 (3.4e38).
LARGEST_ENTRY = 1e15
_BLOCK_ROWS = 8192  # rows looked at together, so that a memory-mapped file is never read as a whole
_MEMORY_SHARE = 0.25  # of the machine's, for one table: strategies and the report need room as well


@dataclasses.dataclass(frozen=True, eq=False)
class Embeddings:
    """Vectors of images under the images' ids. The order of the rows means nothing.

    Args:
        ids: N different texts without line breaks.
        vectors: (N, D) floating point, N and D at least 1; kept as float32, a ``np.memmap`` stays one.
        provenance: what made the vectors; only what JSON can hold.

    Raises:
        ValueError: the counts differ, an id repeats, is empty or has a line break, the vectors are not 2D floating
            point, a row has an entry that is NaN, infinite or beyond ±1e15, or float32 makes all of it zero (the id is
            named).
    """

    ids: tuple[str, ...]
    vectors: NDArray[np.float32]
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", tuple(self.ids))
        _check_ids(self.ids)
        vectors = np.asanyarray(self.vectors)
        if vectors.ndim != 2 or not np.issubdtype(vectors.dtype, np.floating):
            got = f"{vectors.dtype} of shape {vectors.shape}"
            raise ValueError(f"vectors must be floating point of shape (images, features), got {got}")
        if len(self.ids) != len(vectors):
            raise ValueError(
                f"every image needs one id and one vector, got {len(self.ids)} ids and {len(vectors)} vectors"
            )
        if 0 in vectors.shape:
            raise ValueError(f"embeddings need an image and a feature at least, got vectors of shape {vectors.shape}")
        _check_entries(self.ids, vectors)
        object.__setattr__(self, "vectors", vectors.astype(np.float32, copy=False))

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Embeddings:
        """Open the embeddings in ``folder``; the vectors stay on disk until they are used.

        Raises:
            ValueError: a file is missing or the content breaks a rule of this class.
        """
        folder = Path(folder)
        for name in (VECTORS_FILE, IDS_FILE):
            if not (folder / name).is_file():
                raise ValueError(f"{folder} holds no embeddings: {name} is missing; make them with scripts.embed")
        try:
            vectors = np.load(folder / VECTORS_FILE, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:  # cut short, or of objects, which only a pickle could hold
            raise ValueError(f"{folder / VECTORS_FILE} is no array of numbers: {error}; embed again") from error
        ids = (folder / IDS_FILE).read_text(encoding="utf-8").removesuffix("\n").split("\n")
        provenance_file = folder / PROVENANCE_FILE
        provenance = json.loads(provenance_file.read_text(encoding="utf-8")) if provenance_file.is_file() else {}
        try:
            return cls(tuple(ids), vectors, provenance)
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from error

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the folder described above, whole or not at all, and return its path.

        Raises:
            OutputExists: ``folder`` is there and holds something, and ``overwrite`` is false.
            ValueError: it holds no embeddings, and ``overwrite`` is true.
        """
        with atomic_folder(folder, overwrite=overwrite, mark=PROVENANCE_FILE) as temporary:
            self.write(temporary)
        return Path(folder)

    def write(self, folder: Path) -> None:
        """Write the files described above into a ``folder`` that is there."""
        _write_vectors(folder / VECTORS_FILE, np.ascontiguousarray(self.vectors))
        (folder / IDS_FILE).write_text("".join(f"{i}\n" for i in self.ids), encoding="utf-8", newline="\n")
        text = json.dumps(dict(self.provenance), indent=2, ensure_ascii=False)
        (folder / PROVENANCE_FILE).write_text(text + "\n", encoding="utf-8")

    def subset(self, ids: Iterable[str]) -> Embeddings:
        """The embeddings of ``ids``, in that order; these ones where that is all of them in their order.

        They are in memory, or in a scratch file where they are large, see :func:`empty_table`.

        Raises:
            ValueError: an id has no vector here (it is named), repeats, or ``ids`` is empty.
        """
        wanted = tuple(ids)
        if wanted == self.ids:
            return self
        row_of = {identifier: row for row, identifier in enumerate(self.ids)}
        unknown = [identifier for identifier in wanted if identifier not in row_of]
        if unknown:
            raise ValueError(f"{len(unknown)} of {len(wanted)} ids have no embedding, the first is {unknown[0]!r}")
        rows = np.fromiter((row_of[identifier] for identifier in wanted), dtype=np.intp, count=len(wanted))
        return Embeddings(wanted, rows_of(self.vectors, rows), self.provenance)


def empty_table(count: int, dimensions: int) -> NDArray[np.float32]:
    """(count, dimensions) to fill: in memory, or in a scratch file where that would be a quarter of the machine's.

    The file has no name and is gone with the array, whatever happens to the process. It is in the system's folder for
    temporary files, which ``TMPDIR`` sets and which should be on a disk.

    Raises:
        OSError: there is no room for the file.
    """
    size = count * dimensions * np.dtype(np.float32).itemsize
    if size <= _MEMORY_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"):
        return np.empty((count, dimensions), dtype=np.float32)
    with tempfile.TemporaryFile() as file:
        os.posix_fallocate(file.fileno(), 0, size)  # else a full disk kills the process when it writes
        return np.memmap(file, dtype=np.float32, mode="r+", shape=(count, dimensions))


def rows_of(vectors: NDArray[np.float32], rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """``vectors[rows]``, read in blocks into an :func:`empty_table`."""
    found = empty_table(len(rows), vectors.shape[1])
    for start in range(0, len(rows), _BLOCK_ROWS):
        found[start : start + _BLOCK_ROWS] = vectors[rows[start : start + _BLOCK_ROWS]]
    return found


def unit_length(vectors: NDArray[np.float32], *, rows: NDArray[np.intp] | None = None) -> NDArray[np.float32]:
    """Rows of ``vectors`` (M, D) at length 1 (L2), so that distances rank as angles; a zero row stays zero.

    Args:
        rows: (N,) the rows wanted, in that order; all by default. A memory-mapped file is never read as a whole.
    """
    n = len(vectors) if rows is None else len(rows)
    found = empty_table(n, vectors.shape[1])
    for start in range(0, n, _BLOCK_ROWS):
        part = slice(start, start + _BLOCK_ROWS)
        block = vectors[part if rows is None else rows[part]]
        lengths = np.sqrt(np.einsum("ij,ij->i", block, block, dtype=np.float64))
        found[part] = block / np.where(lengths > 0, lengths, 1.0)[:, None]
    return found


def _write_vectors(path: Path, vectors: NDArray[np.float32]) -> None:
    """What ``np.save`` writes; of a full disk that one tells neither the error's number nor the path."""
    with path.open("wb") as handle:
        np.lib.format.write_array_header_1_0(handle, np.lib.format.header_data_from_array_1_0(vectors))
        handle.write(vectors.data)


def _check_ids(ids: tuple[str, ...]) -> None:
    for identifier in ids:
        if not isinstance(identifier, str) or not identifier or "\n" in identifier or "\r" in identifier:
            raise ValueError(f"an id must be a text of one line, not empty, got {identifier!r}")
        if not _fits_utf8(identifier):
            raise ValueError(f"an id must be a text that UTF-8 can hold, got {identifier!r}; rename the file")
    if len(set(ids)) < len(ids):
        identifier, times = Counter(ids).most_common(1)[0]
        raise ValueError(f"ids must differ from each other, {identifier!r} is there {times} times")


def _fits_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_entries(ids: tuple[str, ...], vectors: NDArray[Any]) -> None:
    limit = min(LARGEST_ENTRY, float(np.finfo(vectors.dtype).max))  # half precision ends before it
    for start in range(0, len(vectors), _BLOCK_ROWS):
        block = np.asarray(vectors[start : start + _BLOCK_ROWS])  # also what a masked array hides
        # NaN fails every comparison, so this one catches it together with the infinities.
        fits = (np.abs(block) <= limit).all(axis=1)
        if not fits.all():
            first = start + int(np.argmin(fits))
            raise ValueError(
                f"the vector of {ids[first]!r} has an entry that is NaN, infinite or beyond ±{LARGEST_ENTRY:.0e}; "
                f"embed that image again or take it out of the pool"
            )
        vanishes = block.any(axis=1) & ~block.astype(np.float32).any(axis=1)
        if vanishes.any():
            first = start + int(np.argmax(vanishes))
            raise ValueError(
                f"the vector of {ids[first]!r} must have an entry that float32 can hold, from 1e-45 on, got at most "
                f"{np.abs(block[first - start]).max():.0e}; multiply all vectors by one large number"
            )
