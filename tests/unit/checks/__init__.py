"""Health checks, the parts that are pure."""
