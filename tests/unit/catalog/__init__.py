"""What is healthy: the law of the tables, and the plans beside it."""
