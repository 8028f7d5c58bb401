"""What running thousands of health checks costs a node, and how late they are."""
