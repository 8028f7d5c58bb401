"""Figures of three nodes: leader kills, steady writes, lag, and the arrival of a fresh node."""
