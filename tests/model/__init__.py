"""The table engine said again in plain Python: the oracle of the Rust core."""
