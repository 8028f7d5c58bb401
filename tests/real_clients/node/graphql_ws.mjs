// graphql-ws: the sub-protocol graphql-transport-ws. It connects again by itself when the server is gone.
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { CHANGES, GET, fail, say, webSocketUrl, words } from './say.mjs';

const client = createClient({
  url: webSocketUrl,
  webSocketImpl: WebSocket,
  lazy: false,
  retryAttempts: 100,
  shouldRetry: () => true,
  retryWait: () => new Promise((done) => setTimeout(done, 100)),
  keepAlive: 1_000,
  on: {
    connected: (socket) => say('connected', socket.protocol),
    closed: (event) => say('closed', event.code),
    pong: () => say('pong'),
  },
});

for await (const answer of client.iterate({ query: GET, variables: { key: `${words[0]}before` } })) {
  say('answer', answer);
}
try {
  for await (const answer of client.iterate({ query: '{ nobodyKnowsThis }' })) say('answered', answer);
} catch (errors) {
  say('refused', errors);
}
client.subscribe(
  { query: CHANGES, variables: { prefix: words[0] } },
  { next: (change) => say('change', change), error: fail, complete: () => say('complete') },
);
