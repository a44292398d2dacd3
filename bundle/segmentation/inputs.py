"""What inference is asked to segment: every image of a folder that can be read."""

from __future__ import annotations

import os
from pathlib import Path

from bundle.data.identity import Pseudonyms
from bundle.data.inventory import take_inventory
from bundle.data.modality import Modality, load_modality
from bundle.run.quarantine import Quarantine

KEY_FILE = "identity.key"


def images_below(
    folder: str | os.PathLike[str],
    modality: str | Modality,
    *,
    quarantine: str | os.PathLike[str],
    key_file: str | os.PathLike[str] | None = None,
) -> list[dict[str, str]]:
    """Entries with ``id`` and absolute ``image`` for all images below ``folder``, sorted by id.

    None is decoded yet: what cannot be read shows when it is segmented.

    Args:
        folder: searched with its subfolders.
        modality: what kind of image to look for.
        quarantine: folder for ``quarantine.csv``; masks left there by an earlier run are no input.
        key_file: private key of DICOM ids; a new one in ``quarantine`` where None.

    Raises:
        ValueError: there is no such folder, or no image in it.
    """
    root, output = Path(folder).resolve(), Path(quarantine).resolve()
    if not root.is_dir():
        raise ValueError(f"dataset_dir must be a folder of images, got {folder}")
    if output == root:
        raise ValueError(f"output_dir must not be the folder of the images itself, got {output}")
    aside = Quarantine(root)
    pseudonyms = Pseudonyms(Path(key_file) if key_file else output / KEY_FILE)
    try:
        entries = take_inventory(
            root, modality=load_modality(modality), pseudonyms=pseudonyms, quarantine=aside, for_inference=True
        )
    finally:
        # Segmentations that an earlier run left there are no images, and nobody takes them for such.
        aside.rows = [row for row in aside.rows if not (root / row["path"]).is_relative_to(output)]
        aside.write(output)
    return [
        {"id": entry["id"], "image": str(root / entry["image"])}
        for entry in entries
        if not (root / entry["image"]).is_relative_to(output)
    ]
