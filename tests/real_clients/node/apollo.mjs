// @apollo/client as a page has it: subscriptions through graphql-ws, the rest over HTTP in three ways.
import { createHash } from 'node:crypto';
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from '@apollo/client';
import { BatchHttpLink } from '@apollo/client/link/batch-http';
import { PersistedQueryLink } from '@apollo/client/link/persisted-queries';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { CHANGES, GET, SET, fail, httpUrl, say, webSocketUrl, words } from './say.mjs';

const socket = createClient({ url: webSocketUrl, webSocketImpl: WebSocket });
const hashed = new PersistedQueryLink({
  sha256: (text) => createHash('sha256').update(text).digest('hex'),
  useGETForHashedQueries: true,
});
const kinds = {
  plain: new HttpLink({ uri: httpUrl }),
  hashed: hashed.concat(new HttpLink({ uri: httpUrl })),
  together: new BatchHttpLink({ uri: httpUrl, batchMax: 10, batchInterval: 20 }),
};

function clientWith(link) {
  const isSubscription = (operation) => operation.operationType === 'subscription';
  return new ApolloClient({
    link: ApolloLink.split(isSubscription, new GraphQLWsLink(socket), link),
    cache: new InMemoryCache(),
    defaultOptions: { query: { fetchPolicy: 'no-cache' } },
  });
}

const prefix = words[0];
try {
  const plain = clientWith(kinds.plain);
  const variables = { key: `${prefix}apollo`, value: 'über' };
  say('set', (await plain.mutate({ mutation: gql(SET), variables })).data);
  for (const [kind, link] of Object.entries(kinds)) {
    const client = clientWith(link);
    const asked = ['apollo', 'absent'].map((name) =>
      client.query({ query: gql(GET), variables: { key: `${prefix}${name}` } }));
    say(kind, (await Promise.all(asked)).map((answer) => answer.data));
  }
  plain.subscribe({ query: gql(CHANGES), variables: { prefix } }).subscribe({
    next: (change) => say('change', change), error: fail, complete: () => say('complete'),
  });
} catch (error) {
  fail(error);
}
