"""What every stage does around its work: atomic writes, a run record, quarantine, seeds. Imports no stage."""
