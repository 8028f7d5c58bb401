"""The GraphQL door: `/graphql`, its schema, its transports."""
