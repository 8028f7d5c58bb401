"""The audit log without a server."""
