"""GraphiQL on `/graphql/playground`, from files of this folder only: the page asks nobody but this node."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

_FOLDER: Final = Path(__file__).with_name("playground")
_JS: Final = "text/javascript; charset=utf-8"
_CSS: Final = "text/css; charset=utf-8"
_FILES: Final = {
    "": ("index.html", "text/html; charset=utf-8"),
    "page.js": ("page.js", _JS),
    "page.css": ("page.css", _CSS),
    "react.js": ("react.js.gz", _JS),
    "react-dom.js": ("react-dom.js.gz", _JS),
    "graphql-ws.js": ("graphql-ws.js.gz", _JS),
    "graphiql.js": ("graphiql.js.gz", _JS),
    "graphiql.css": ("graphiql.css.gz", _CSS),
}
# Nothing inline: styles that the editor sets on its elements by script are no matter of this.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    # For browsers that do not know frame-ancestors.
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def serve(request: Request, name: str) -> Response:
    """The page (empty name) or one of its files; 404 for anything else."""
    if name not in _FILES:
        return PlainTextResponse(f"Cannot {request.method} {request.url.path}", 404)
    if request.method not in ("GET", "HEAD"):
        return PlainTextResponse("Method Not Allowed", 405, {"allow": "GET, HEAD"})
    file, media = _FILES[name]
    content = (_FOLDER / file).read_bytes()
    headers = dict(_HEADERS)
    if file.endswith(".gz"):
        headers["vary"] = "accept-encoding"
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["content-encoding"] = "gzip"
        else:
            content = gzip.decompress(content)
    return Response(content, 200, headers, media)
