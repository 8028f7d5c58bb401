"""Vocabulary and transport: how the outside reaches commands and queries."""
