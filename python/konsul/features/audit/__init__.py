"""Audit: who did what, from where, with which outcome, written down beside the request's way."""
