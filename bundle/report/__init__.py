"""Pictures and the one HTML page of a run. Reads what the stages wrote; none of them needs it."""
