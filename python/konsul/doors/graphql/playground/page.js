// Binds GraphiQL to the node that served this page: queries over HTTP, subscriptions over WebSocket.
"use strict";

(() => {
  const endpoint = new URL("../graphql", window.location.href);
  const socket = new URL(endpoint);
  socket.protocol = endpoint.protocol === "https:" ? "wss:" : "ws:";

  // What is typed into the headers pane is also what a WebSocket's connection is opened with: browsers
  // cannot send headers of their own with it.
  let connectionParams = {};

  const fetcher = GraphiQL.createFetcher({
    url: endpoint.href,
    wsClient: graphqlWs.createClient({ url: socket.href, connectionParams: () => connectionParams }),
  });

  const withHeaders = (params, options) => {
    connectionParams = (options && options.headers) || {};
    return fetcher(params, options);
  };

  const welcome = "# Ctrl+Enter runs the operation.\n# Subscriptions run until stopped.\n{\n  health {\n" +
    "    status\n    version\n    uptime\n  }\n}\n";
  const page = React.createElement(GraphiQL, {
    fetcher: withHeaders,
    defaultQuery: welcome,
    shouldPersistHeaders: false,
  });
  ReactDOM.createRoot(document.getElementById("graphiql")).render(page);
})();
