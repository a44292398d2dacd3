"""Rounds after the cold start: what was asked, what came back, and where the loop stands."""
