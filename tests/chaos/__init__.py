"""Kill it at any moment: nothing acknowledged is lost, nothing happens twice, no index comes again."""
