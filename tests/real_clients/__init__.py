"""Clients that others wrote, driven against a real server."""
