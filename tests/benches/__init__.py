"""Tests of the benches: that they run, and that their judges notice."""
