"""Who calls: users, logins and their tokens, API keys."""
