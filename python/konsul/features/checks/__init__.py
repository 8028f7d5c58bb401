"""Health checks that run: on exactly one node each, bounded, damped, and reported where the status is law."""
