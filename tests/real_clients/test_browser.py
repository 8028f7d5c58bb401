"""A page in Chromium with EventSource and WebSocket, and the playground as a person opens it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.ask import ask, put
from tests.conftest import LiveServer
from tests.real_clients import packages
from tests.real_clients.browser import Browser, Page
from tests.waiting import until

pytestmark = pytest.mark.timeout(packages.INSTALL_MAX_S + packages.UNPACK_MAX_S + 120)
WITHIN_S = 30.0


def opened(browser: Browser, site: str, server: LiveServer, pattern: str) -> Page:
    """The test page, both its watches open."""
    page = browser.page()
    page.go(f"{site}/page.html?server=127.0.0.1:{server.port}&pattern={pattern}")
    until(lambda: len(heard(page, "open")) == 2, "both watches", WITHIN_S)
    return page


def heard(page: Page, what: str, whom: str | None = None) -> list[dict[str, Any]]:
    """What the page's clients were told of one kind, of both or of `sse` or `ws` alone."""
    told: list[dict[str, Any]] = page.value("heard")
    return [one for one in told if one["what"] == what and whom in (None, one["from"])]


def keys(page: Page, whom: str) -> list[tuple[str, str]]:
    """Type and key of every change one of them was told."""
    told = heard(page, {"sse": "kv-change", "ws": "message"}[whom], whom)
    return [(one["data"]["type"], one["data"]["key"]) for one in told]


def test_event_source_and_websocket_see_every_change_once(
    browser: Browser, site: str, server: LiveServer
) -> None:
    page = opened(browser, site, server, "page/**")
    expected = []
    for number in range(20):
        put(server.port, f"page/{number}", f"grüße {number}")
        put(server.port, f"elsewhere/{number}", "not watched")
        expected.append(("set", f"page/{number}"))
    ask(server.port, "DELETE", "/kv/page/0")
    expected.append(("delete", "page/0"))
    until(lambda: len(keys(page, "sse")) >= len(expected), "all for EventSource", WITHIN_S)
    until(lambda: len(keys(page, "ws")) >= len(expected), "all for the WebSocket", WITHIN_S)
    assert keys(page, "sse") == keys(page, "ws") == expected
    changes = heard(page, "kv-change")
    assert [int(one["id"]) for one in changes] == [one["data"]["modify_index"] for one in changes]
    assert changes[7]["data"]["value"] == "grüße 7"


def test_event_source_comes_back_after_a_kill(browser: Browser, site: str, server: LiveServer) -> None:
    page = opened(browser, site, server, "back/**")
    put(server.port, "back/before", "1")
    until(lambda: len(keys(page, "sse")) == 1, "the change before", WITHIN_S)
    server.kill()
    until(lambda: heard(page, "close", "ws"), "the WebSocket's end", WITHIN_S)
    server.start()
    put(server.port, "back/after", "2")

    def back() -> bool:
        return len(heard(page, "open", "sse")) == 2 and len(keys(page, "sse")) + len(lists(page)) >= 2

    until(back, "EventSource by itself, with its Last-Event-ID", WITHIN_S)
    # Exactly once, unless it was told that something is missing and to list again.
    assert keys(page, "sse") == [("set", "back/before"), ("set", "back/after")] or lists(page)
    put(server.port, "back/later", "3")
    until(lambda: keys(page, "sse")[-1] == ("set", "back/later"), "what follows", WITHIN_S)
    assert len(set(keys(page, "sse"))) == len(keys(page, "sse"))


def lists(page: Page) -> list[dict[str, Any]]:
    """The times EventSource was told to list again."""
    return heard(page, "compacted", "sse")


def test_a_page_of_another_site_cannot_open_a_websocket(
    browser: Browser, site: str, server: LiveServer
) -> None:
    page = browser.page()
    # The same machine under another name is another origin.
    page.go(f"{site.replace('127.0.0.1', 'localhost')}/page.html?server=127.0.0.1:{server.port}&pattern=x/**")
    until(lambda: heard(page, "close", "ws"), "the refusal", WITHIN_S)
    assert not heard(page, "open", "ws")


def test_the_playground_asks_and_loads_from_nowhere_else(browser: Browser, server: LiveServer) -> None:
    put(server.port, "playground/key", "found by hand")
    page = browser.page()
    page.go(f"{server.base_url}/graphql/playground")
    until(lambda: page.value("document.querySelector('.graphiql-query-editor .CodeMirror') !== null"), "it")
    query = '{ kv(key: "playground/key") { value } }'
    page.value(f"document.querySelector('.graphiql-query-editor .CodeMirror').CodeMirror.setValue({query!r})")
    page.value("document.querySelector('.graphiql-execute-button').click()")
    result = "document.querySelector('.result-window').innerText"
    until(lambda: "found by hand" in page.value(result), "the answer", WITHIN_S)
    hosts = {urlsplit(url).netloc for url in page.asked_for() if url.startswith("http")}
    assert hosts == {f"127.0.0.1:{server.port}"}
