"""The composition root: feature list, kernel, doors, run."""
