"""What every feature stands on: tables, entries, commands, pipeline, configuration, metrics, lifecycle."""
