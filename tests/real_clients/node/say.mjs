// What a client sees, one line of JSON each: the test reads them.
export const [url, ...words] = process.argv.slice(2);
export const webSocketUrl = `${url.replace('http', 'ws')}/graphql`;
export const httpUrl = `${url}/graphql`;

export function say(what, content) {
  process.stdout.write(`${JSON.stringify({ what, content })}\n`);
}

export function fail(error) {
  say('error', error instanceof Error ? `${error.name}: ${error.message}` : JSON.stringify(error));
  process.exitCode = 1;
}

export const CHANGES =
  'subscription Changes($prefix: String) { kvChanged(prefix: $prefix) { type key value oldValue } }';
export const GET = 'query Get($key: String!) { kv(key: $key) { key value } }';
export const SET =
  'mutation Set($key: String!, $value: String!) { kvSet(key: $key, value: $value) { key value } }';
