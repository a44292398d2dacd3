"""What inference is asked to segment: every image of a folder that can be read."""

from __future__ import annotations

import os
from pathlib import Path

from bundle.data.identity import KEY_FILE, Pseudonyms
from bundle.data.inventory import take_inventory
from bundle.data.modality import Modality, load_modality
from bundle.data.tree import UNPACKED, ImageTree
from bundle.run import ranks
from bundle.run.quarantine import Quarantine


@ranks.first_for_all
def images_below(
    folder: str | os.PathLike[str],
    modality: str | Modality,
    *,
    quarantine: str | os.PathLike[str],
    key_file: str | os.PathLike[str] | None = None,
    keep_uids: bool = False,
    frames: str = "first",
) -> list[dict[str, str]]:
    """Entries with ``id`` and absolute ``image`` for all images below ``folder``, sorted by id.

    None is decoded yet: what cannot be read shows when it is segmented.

    Args:
        folder: searched with its subfolders; or a zip archive, or a DICOMDIR.
        modality: what kind of image to look for.
        quarantine: folder for ``quarantine.csv`` and, where there are any, for what zip archives hold; what an
            earlier run left there is no input.
        key_file: private key of DICOM ids; a new one in ``quarantine`` where None.
        keep_uids: SOPInstanceUIDs as they are, without hash.
        frames: of DICOM files with several frames the ``first`` alone, or ``all``, each an image of its own.

    Raises:
        ValueError: there is no such folder, or no image in it.
    """
    output = Path(quarantine).resolve()
    try:
        tree = ImageTree(folder, unpacked=output / UNPACKED, leave_out=[output])
    except ValueError as error:
        raise ValueError(f"dataset_dir: {error}") from None
    if output == tree.place:
        raise ValueError(f"output_dir must not be the folder of the images itself, got {output}")
    aside = Quarantine(tree.place)
    try:
        entries, _ = take_inventory(
            tree,
            modality=load_modality(modality),
            pseudonyms=Pseudonyms(Path(key_file) if key_file else output / KEY_FILE, keep=keep_uids),
            quarantine=aside,
            for_inference=True,
            frames=frames,
        )
    finally:
        aside.write(output)
    return [{"id": entry["id"], "image": str(tree.path_of(entry["image"]))} for entry in entries]
