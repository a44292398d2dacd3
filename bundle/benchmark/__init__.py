"""Proof: the same protocol for every run, and what the runs say together."""
