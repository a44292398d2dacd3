"""Self-supervision on the unlabelled pool: MoCo contrast (CA), Models Genesis restoration (SAAL), or both."""
