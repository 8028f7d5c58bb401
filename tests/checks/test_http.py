"""HTTP checks: what an answer means, and how it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from konsul.features.checks.outcome import Outcome
from tests.checks.targets import Web, answer, definition, executors, listening

Ask = Callable[..., Awaitable[Outcome]]


def story(web: Web, tell: Callable[[Ask], Awaitable[None]], **settings: Any) -> None:
    """Runs `tell` with what makes one attempt at the target: `await ask("/path", method="PUT")`."""

    async def run() -> None:
        async with listening(web), executors(**settings) as made:

            async def ask(path: str = "/", **members: Any) -> Outcome:
                return await made.run(
                    definition("http", http=f"http://127.0.0.1:{web.port}{path}", **members)
                )

            await tell(ask)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("200 OK", "passing"),
        ("204 No Content", "passing"),
        ("299 Odd", "passing"),
        ("304 Not Modified", "warning"),
        ("429 Too Many Requests", "warning"),
        ("400 Bad Request", "critical"),
        ("404 Not Found", "critical"),
        ("500 Internal Server Error", "critical"),
        ("503 Service Unavailable", "critical"),
    ],
)
def test_the_class_of_the_status_decides(status: str, expected: str) -> None:
    async def tell(ask: Ask) -> None:
        found = await ask("/x")
        assert found.status == expected
        assert found.output.startswith(f"HTTP {status[:3]} {status}")

    body = b"" if status[:3] in ("204", "304") else b"body"
    raw = answer(status, body) if body else f"HTTP/1.1 {status}\r\n\r\n".encode()
    story(Web({"/x": raw}), tell)


def test_the_output_tells_how_long_it_took_and_what_is_said_does_not() -> None:
    async def tell(ask: Ask) -> None:
        first, second = await ask(), await ask()
        assert first.output.startswith("HTTP 200 200 OK (0.")
        assert first.said == second.said == "HTTP 200 200 OK"

    story(Web(), tell)


def test_method_headers_and_body_are_sent_and_the_agent_is_named() -> None:
    web = Web()

    async def tell(ask: Ask) -> None:
        await ask("/a?b=c", method="POST", headers={"X-Token": "secret", "Host": "shop.example"}, body="ping")
        await ask("/plain")

    story(web, tell)
    method, path, headers, body = web.requests[0]
    assert (method, path, body) == ("POST", "/a?b=c", b"ping")
    assert (headers["x-token"], headers["host"]) == ("secret", "shop.example")
    assert web.requests[1][2]["user-agent"] == "Konsul-Health-Check/1.0"
    assert web.requests[1][2]["host"] == f"127.0.0.1:{web.port}"


def test_expected_statuses_replace_the_rule() -> None:
    web = Web({"/404": answer("404 Not Found"), "/301": answer("301 Moved", b"", "Location: /elsewhere")})

    async def tell(ask: Ask) -> None:
        assert (await ask("/404", expected_status="200-299,404")).status == "passing"
        assert (await ask("/", expected_status="404")).status == "critical"
        # A redirect that is expected is not followed.
        assert (await ask("/301", expected_status="301")).status == "passing"

    story(web, tell)
    assert [path for _, path, _, _ in web.requests] == ["/404", "/", "/301"]


def test_the_body_has_to_match() -> None:
    web = Web({"/x": answer("200 OK", b'{"db": "up", "queue": "down"}')})

    async def tell(ask: Ask) -> None:
        assert (await ask("/x", expected_body='"db": *"up"')).status == "passing"
        found = await ask("/x", expected_body='"queue": *"up"')
        assert found.status == "critical"
        assert "does not match" in found.output

    story(web, tell)


def test_only_the_beginning_of_a_long_body_is_looked_at() -> None:
    web = Web({"/x": answer("200 OK", b"a" * 200_000 + b"needle")})

    async def tell(ask: Ask) -> None:
        assert (await ask("/x", expected_body="needle")).status == "critical"
        assert (await ask("/x", expected_body="^aaaa")).status == "passing"

    story(web, tell, body_max_bytes=1 << 16)


def test_redirects_are_followed_and_bounded() -> None:
    web = Web({f"/{n}": answer("302 Found", b"", f"Location: /{n + 1}") for n in range(1, 9)})

    async def tell(ask: Ask) -> None:
        assert (await ask("/7")).status == "passing"
        found = await ask("/1")
        assert (found.status, found.said) == ("warning", "HTTP 302: more than 5 redirects")

    story(web, tell)
    assert [path for _, path, _, _ in web.requests] == ["/7", "/8", "/9", "/1", "/2", "/3", "/4", "/5", "/6"]


def test_a_redirect_may_change_the_method_and_keeps_no_secret_for_another_origin() -> None:
    other = Web()
    web = Web()

    async def run() -> None:
        async with listening(other), listening(web), executors() as made:
            web.answers["/see"] = answer(
                "303 See Other", b"", f"Location: http://localhost:{other.port}/there"
            )
            web.answers["/same"] = answer("307 Temporary", b"", "Location: /here")
            headers = {"Authorization": "Bearer secret", "X-Api-Key": "secret", "X-Other": "kept"}
            for path in ("/see", "/same"):
                found = await made.run(
                    definition(
                        "http",
                        http=f"http://127.0.0.1:{web.port}{path}",
                        method="POST",
                        body="b",
                        headers=headers,
                    )
                )
                assert found.status == "passing"

    asyncio.run(run())
    (method, path, headers, body), *_ = other.requests
    assert (method, path, body) == ("GET", "/there", b"")
    assert headers["host"] == f"localhost:{other.port}"
    assert ("authorization" in headers, "x-api-key" in headers, headers["x-other"]) == (False, False, "kept")
    method, path, headers, body = web.requests[-1]
    assert (method, path, body, headers["authorization"]) == ("POST", "/here", b"b", "Bearer secret")


def test_connections_are_kept_for_the_next_attempt() -> None:
    web = Web()

    async def tell(ask: Ask) -> None:
        for _ in range(20):
            assert (await ask()).status == "passing"

    story(web, tell)
    assert (len(web.requests), web.connections) == (20, 1)


def test_a_target_that_closes_kept_connections_is_not_called_unhealthy() -> None:
    web = Web(closes=True)

    async def tell(ask: Ask) -> None:
        for _ in range(5):
            assert (await ask()).status == "passing"

    story(web, tell)
    assert len(web.requests) == 5


def test_none_are_kept_if_so_set() -> None:
    web = Web()

    async def tell(ask: Ask) -> None:
        for _ in range(3):
            await ask()

    story(web, tell, idle_connections_max=0)
    assert web.connections == 3


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "closed"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "not HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", "closed before the answer was whole"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 400_000 + b"\r\n", "not HTTP/1.1"),
    ],
)
def test_what_is_no_answer_is_critical(raw: bytes, why: str) -> None:
    async def run() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(raw)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, executors() as made:
            found = await made.run(definition("http", http=f"http://127.0.0.1:{port}/"))
            assert found.status == "critical"
            assert why in found.output

    asyncio.run(run())


def test_a_target_that_says_nothing_costs_its_timeout() -> None:
    async def run() -> None:
        gone = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()
            gone.set()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, executors() as made:
            found = await made.run(definition("http", http=f"http://127.0.0.1:{port}/", timeout="100ms"))
            assert found.status == "critical"
            assert found.output.endswith(": timeout")
            async with asyncio.timeout(10):
                await gone.wait()

    asyncio.run(run())


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http:///x", "http://127.0.0.1:99999/", "http://a b/"])
def test_what_is_no_url_is_critical_with_words(url: str) -> None:
    async def run() -> None:
        async with executors() as made:
            found = await made.run(definition("http", http=url))
            assert found.status == "critical"
            assert found.output.startswith("HTTP request failed after ")

    asyncio.run(run())


def test_names_are_tried_address_by_address() -> None:
    async def run() -> None:
        async with listening(Web()) as web, executors(lambda _: ["::1", "127.0.0.1"]) as made:
            found = await made.run(definition("http", http=f"http://two.example:{web.port}/"))
            assert found.status == "passing"
            assert web.requests[0][2]["host"] == f"two.example:{web.port}"

    asyncio.run(run())
