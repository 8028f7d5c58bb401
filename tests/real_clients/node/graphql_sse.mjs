// graphql-sse: subscriptions as server-sent events, each in a connection of its own.
import { createClient } from 'graphql-sse';
import { CHANGES, GET, fail, httpUrl, say, words } from './say.mjs';

const client = createClient({ url: httpUrl, singleConnection: false, fetchFn: fetch, retryAttempts: 0 });
for await (const answer of client.iterate({ query: GET, variables: { key: `${words[0]}before` } })) {
  say('answer', answer);
}
client.subscribe(
  { query: CHANGES, variables: { prefix: words[0] } },
  { next: (change) => say('change', change), error: fail, complete: () => say('complete') },
);
