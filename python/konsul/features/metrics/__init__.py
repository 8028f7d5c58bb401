"""The Prometheus page."""
