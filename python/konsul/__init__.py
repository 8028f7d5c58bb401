"""Konsul: service discovery, configuration KV and coordination."""

__version__ = "0.1.0"
