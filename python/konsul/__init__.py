"""Konsul: service discovery, configuration KV and coordination."""
