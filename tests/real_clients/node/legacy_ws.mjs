// subscriptions-transport-ws: the older sub-protocol graphql-ws, which clients of years ago still speak.
import { SubscriptionClient } from 'subscriptions-transport-ws';
import WebSocket from 'ws';
import { CHANGES, GET, fail, say, webSocketUrl, words } from './say.mjs';

const client = new SubscriptionClient(webSocketUrl, { connectionParams: {} }, WebSocket);
client.onConnected(() => say('connected', client.client.protocol));
client.request({ query: GET, variables: { key: `${words[0]}before` } }).subscribe({
  next: (answer) => say('answer', answer),
  error: fail,
  complete: () =>
    client.request({ query: CHANGES, variables: { prefix: words[0] } }).subscribe({
      next: (change) => say('change', change), error: fail, complete: () => say('complete'),
    }),
});
