"""Probes that tell the truth about this node."""
