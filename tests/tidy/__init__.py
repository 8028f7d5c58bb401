"""Style as a test: what this house promises its readers, checked on every file."""
