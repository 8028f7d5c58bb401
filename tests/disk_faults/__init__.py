"""What happens when the disk lies, fills up, is read-only or taken: a described end with words that help."""
