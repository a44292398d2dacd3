"""From files to tensors in [0, 1]: modalities, ids, patients, splits, duplicates, quarantine."""
