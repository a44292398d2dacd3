"""What every stage does around its work: atomic writes, run record, quarantine, seeds, processes. Imports no stage."""
