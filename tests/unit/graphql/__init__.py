"""The GraphQL schema on a node inside this process: fields, errors, loaders, subscriptions."""
