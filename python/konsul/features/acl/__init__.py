"""Who may do what: policies, where they come from, and the decision at every door."""
