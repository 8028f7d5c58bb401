"""Load tests and the demonstration on real data."""
