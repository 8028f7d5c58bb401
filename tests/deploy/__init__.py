"""What is in deploy/ names what there is, and does what its first lines say."""
