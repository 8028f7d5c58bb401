"""What every route of the HTTP door has in common, asked over a real socket."""

from __future__ import annotations

import socket
from uuid import UUID

import httpx
import pytest

from tests.conftest import LiveServer

PUT_JSON = b"PUT /kv/big HTTP/1.1\r\nHost: k\r\nContent-Type: application/json\r\n"


def raw(server: LiveServer, request: bytes) -> bytes:
    """Everything the server answers to exactly these bytes, until it closes or falls silent."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(request)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


def test_an_unknown_path_says_what_cannot_be_done(http: httpx.Client) -> None:
    answer = http.post("/nowhere/at/all", json={})
    assert (answer.status_code, answer.text) == (404, "Cannot POST /nowhere/at/all")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_a_known_path_names_the_methods_it_has(http: httpx.Client) -> None:
    answer = http.post("/kv/some/key")
    assert (answer.status_code, answer.text) == (405, "Method Not Allowed")
    assert answer.headers["allow"] == "GET, HEAD, PUT, DELETE"


def test_options_without_preflight_headers_is_a_wrong_method(http: httpx.Client) -> None:
    assert http.options("/kv/a").status_code == 405


def test_a_preflight_is_answered_before_anything_else(http: httpx.Client) -> None:
    answer = http.options(
        "/any/path", headers={"Origin": "https://ui.example", "Access-Control-Request-Method": "PUT"}
    )
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-methods"] == "GET,POST,PUT,DELETE,OPTIONS"
    assert (
        answer.headers["access-control-allow-headers"] == "Origin,Content-Type,Accept,Authorization,X-API-Key"
    )
    assert answer.headers["access-control-max-age"] == "3600"
    assert answer.headers["access-control-expose-headers"] == "Content-Length"
    assert answer.headers["vary"] == "Access-Control-Request-Method, Access-Control-Request-Headers, Origin"


@pytest.mark.parametrize("path", ["/health/live", "/kv/absent", "/nowhere"])
def test_only_requests_with_an_origin_get_cors_headers(http: httpx.Client, path: str) -> None:
    assert (
        http.get(path, headers={"Origin": "https://ui.example"}).headers["access-control-allow-origin"] == "*"
    )
    assert "access-control-allow-origin" not in http.get(path).headers


@pytest.mark.parametrize(
    "path", ["/health/live", "/kv/", "/services/", "/metrics", "/health", "/openapi.json"]
)
def test_head_answers_as_get_without_a_body(http: httpx.Client, path: str) -> None:
    answer = http.head(path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == http.get(path).headers["content-type"]


def test_static_segments_ignore_case_and_trailing_slashes(http: httpx.Client) -> None:
    http.put("/kv/case/Key", json={"value": "1"})
    for path in ("/KV/case/Key", "/Kv/case/Key///", "/v1/kv/case/Key", "/V1/KV/case/Key/"):
        assert http.get(path).json()["value"] == "1", path
    assert http.get("/kv/case/key").status_code == 404


def test_a_long_s_or_a_kelvin_sign_is_no_letter_of_a_route(http: httpx.Client) -> None:
    assert http.get("/%E2%84%AAv/a").status_code == 404
    assert http.get("/%C5%BFervices").status_code == 404


def test_a_path_is_decoded_once(http: httpx.Client) -> None:
    http.put("/kv/once%2Fonly%2541", json={"value": "1"})
    assert http.get("/kv/once/only%2541").json()["key"] == "once/only%41"


@pytest.mark.parametrize("path", ["/kv/%zz", "/kv/%", "/kv/%ff%fe", "/kv/%c0%af", "/kv/%ed%a0%80"])
def test_a_path_that_is_not_utf8_is_refused(http: httpx.Client, path: str) -> None:
    answer = http.request("GET", httpx.URL(str(http.base_url) + "/").copy_with(raw_path=path.encode()))
    assert answer.status_code == 400
    assert answer.json()["error"] == "Bad Request"


def test_every_answer_carries_a_request_id(http: httpx.Client) -> None:
    assert UUID(http.get("/health/live").headers["x-request-id"])
    given = http.get("/kv/absent", headers={"X-Request-ID": "deploy-42"})
    assert given.headers["x-request-id"] == given.json()["request_id"] == "deploy-42"


@pytest.mark.parametrize("bad", ["", "a b", "x" * 129, 'quo"te', "tab\there"])
def test_a_request_id_that_could_harm_a_log_is_replaced(http: httpx.Client, bad: str) -> None:
    assert UUID(http.get("/health/live", headers={"X-Request-ID": bad}).headers["x-request-id"])


def test_a_standard_error_has_all_members(http: httpx.Client) -> None:
    body = http.get("/v1/kv/absent%20key").json()
    assert body.keys() == {"error", "message", "request_id", "timestamp", "path"}
    assert (body["error"], body["message"]) == ("Not Found", "Key not found")
    assert body["path"] == "/v1/kv/absent%20key"
    assert body["timestamp"].endswith("Z")


def test_a_body_over_the_limit_is_refused_by_its_declared_length(server: LiveServer) -> None:
    head = PUT_JSON + b"Content-Length: 99999999\r\n\r\n"
    answer = raw(server, head)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.endswith(b"\r\n\r\nRequest Entity Too Large")
    assert b"connection: close" in answer.lower()


def test_a_chunked_body_is_refused_while_it_streams(server: LiveServer) -> None:
    head = PUT_JSON + b"Transfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head)
        try:
            for _ in range(80):
                connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            answer = connection.recv(65536)
        except OSError:
            # It answered and closed while we were still sending, as it should.
            answer = b"HTTP/1.1 413 "
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_head_over_the_limit_is_refused(http: httpx.Client) -> None:
    assert http.get("/kv/" + "k" * 3000).status_code in (400, 404)
    answer = http.get("/kv/" + "k" * 5000)
    assert (answer.status_code, answer.text) == (431, "Request Header Fields Too Large")
    assert http.get("/health/live", headers={"X-Long": "y" * 5000}).status_code == 431


def test_what_is_not_http_does_not_stop_the_server(server: LiveServer, http: httpx.Client) -> None:
    assert raw(server, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert http.get("/health/live").status_code == 200


def test_the_api_describes_itself_without_loading_anything_from_elsewhere(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    assert {"/kv/{key}", "/health/ready", "/metrics", "/services"} <= document["paths"].keys()
    assert http.get("/docs").status_code == http.get("/redoc").status_code == 404
