"""The filter language: text a client sends, which becomes one bounded question about a row."""
