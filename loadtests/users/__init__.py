"""Who sends requests."""
