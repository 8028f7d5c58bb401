"""Attempts of every type of check against real targets."""
