"""Choosing one instance of many."""
