"""HTTPS through a real server: both versions of HTTP, lines, every client, and clients with certificates."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from konsul.client import Client, Connected, KvChange, Policy, Settings
from konsul.client.pursuit import Transport
from konsul.errors import Invalid, Unreachable
from tests.cli.console import Console
from tests.conftest import LiveServer
from tests.doors.tls_files import Files, curl
from tests.process import free_port
from tests.waiting import until

DEADLINE_S = 20.0
VERSIONS = pytest.mark.parametrize(("flag", "version"), [("--http1.1", "1.1"), ("--http2", "2")])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def secure(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server with a certificate of the tests' authority."""
    folder = tmp_path_factory.mktemp("secure")
    with files.server(folder / "data", files.settings(KONSUL_TLS_HSTS_MAX_AGE="24h")) as running:
        yield running


@pytest.fixture
def console(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> Console:
    monkeypatch.setenv("KONSUL_CONFIG", str(tmp_path / "konsulctl.yaml"))
    return Console(monkeypatch, capfdbinary)


def trusting(secure: LiveServer, files: Files) -> Settings:
    return Settings(secure.base_url, ca_cert=files.ca, policy=Policy(retries=0))


@VERSIONS
def test_requests_of_both_versions(
    secure: LiveServer, files: Files, space: str, flag: str, version: str
) -> None:
    url = f"{secure.base_url}/kv/{space}"
    body = json.dumps({"value": "v" * 100_000})
    put = curl(
        flag,
        "--request",
        "PUT",
        "--data",
        body,
        "--header",
        "content-type: application/json",
        url,
        ca=files.ca,
    )
    assert put.endswith(f"\n{version} 200")
    got = curl(flag, url, ca=files.ca)
    assert got.endswith(f"\n{version} 200")
    assert json.loads(got.rpartition("\n")[0])["value"] == "v" * 100_000
    # One that the application answers, and one that nobody does.
    assert curl(flag, f"{secure.base_url}/openapi.json", ca=files.ca).endswith(f"\n{version} 200")
    assert curl(flag, f"{secure.base_url}/nowhere", ca=files.ca).endswith(f"\n{version} 404")


def test_a_body_that_is_too_big_is_refused(secure: LiveServer, files: Files, tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(b"x" * (6 << 20))
    url = f"{secure.base_url}/kv/big"
    said = curl("--http1.1", "--request", "PUT", "--data-binary", f"@{big}", url, ca=files.ca)
    assert said.endswith("\n1.1 413")


@VERSIONS
def test_an_event_stream(secure: LiveServer, files: Files, space: str, flag: str, version: str) -> None:
    url = f"{secure.base_url}/kv/watch/{space}"
    command = ["curl", "--silent", "--no-buffer", flag, "--cacert", files.ca, "--include", url]
    command += ["--header", "accept: text/event-stream"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listening,
        Client(trusting(secure, files)) as client,
    ):
        assert listening.stdout is not None
        try:
            assert listening.stdout.readline().startswith(f"HTTP/{version} 200")
            while not listening.stdout.readline().startswith(": watching"):
                pass
            client.kv.set(space, "changed")
            while not (line := listening.stdout.readline()).startswith("data: "):
                pass
            assert json.loads(line.removeprefix("data: "))["key"] == space
        finally:
            listening.kill()


@VERSIONS
def test_who_waits_for_a_change_gets_it(
    secure: LiveServer, files: Files, space: str, flag: str, version: str
) -> None:
    with Client(trusting(secure, files)) as client:
        index = client.kv.set(space, "before").modify_index
        command = ["curl", "--silent", flag, "--cacert", files.ca, "--write-out", "\n%{http_version}"]
        command += [f"{secure.base_url}/kv/{space}?index={index}&wait=20s"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as waiting:
            client.kv.set(space, "after")
            answer, _, spoken = waiting.communicate(timeout=60)[0].rpartition("\n")
    assert (json.loads(answer)["value"], spoken) == ("after", version)


def test_a_websocket(secure: LiveServer, files: Files, space: str) -> None:
    url = f"wss://localhost:{secure.port}/kv/watch/{space}"
    with (
        connect(url, ssl=files.context(), open_timeout=DEADLINE_S, proxy=None) as watch,
        Client(trusting(secure, files)) as client,
    ):
        client.kv.set(space, "1")
        assert json.loads(watch.recv(DEADLINE_S))["key"] == space


@pytest.mark.parametrize("transport", ["sse", "websocket"])
def test_the_client_library(secure: LiveServer, files: Files, space: str, transport: Transport) -> None:
    with (
        Client(trusting(secure, files)) as client,
        client.kv.watch(f"{space}/*", transport=transport, notices=True) as watch,
    ):
        assert isinstance(next(watch), Connected)
        client.kv.set(f"{space}/a", "1")
        changed = next(watch)
        assert isinstance(changed, KvChange)
        assert changed.key == f"{space}/a"
    with Client(Settings(secure.base_url, policy=Policy(retries=0))) as stranger, pytest.raises(Unreachable):
        stranger.live()


def test_konsulctl(secure: LiveServer, files: Files, space: str, console: Console) -> None:
    at = ("--server", secure.base_url)
    console.ok("kv", "set", space, "secret", *at, "--ca-cert", files.ca)
    assert console.ok("kv", "get", space, *at, "--ca-cert", files.ca).text.strip() == "secret"
    assert console("kv", "get", space, *at).code == 5
    unsafe = console("kv", "get", space, *at, "--insecure-skip-verify")
    assert (unsafe.code, unsafe.text.strip()) == (0, "secret")
    assert unsafe.errors.startswith("Warning: the server's certificate is not checked")
    for wrong in (("--ca-cert", "/nowhere.pem"), ("--client-cert", files.ca)):
        refused = console("kv", "get", space, *at, *wrong)
        assert (refused.code, "certificate" in refused.errors) == (2, True), refused
    console.ok("profile", "add", "there", *at, "--ca-cert", files.ca)
    assert console.ok("kv", "get", space, "--profile", "there").text.strip() == "secret"


def test_half_a_certificate_is_no_certificate(secure: LiveServer, files: Files) -> None:
    with pytest.raises(Invalid, match="together"):
        Settings(secure.base_url, client_cert=files.ca)


def test_every_answer_says_to_come_back_by_https(secure: LiveServer, files: Files) -> None:
    with httpx.Client(base_url=secure.base_url, verify=files.context(), trust_env=False) as client:
        for path in ("/health/live", "/kv/none", "/nowhere", "/openapi.json", "/graphql/playground/"):
            assert client.get(path).headers["strict-transport-security"] == "max-age=86400", path


def test_the_playground_may_not_be_framed(secure: LiveServer, files: Files) -> None:
    with httpx.Client(base_url=secure.base_url, verify=files.context(), trust_env=False) as client:
        page = client.get("/graphql/playground/", follow_redirects=True)
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["x-frame-options"] == "DENY"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]


def test_http_in_the_clear_is_told_so(secure: LiveServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", secure.port, timeout=DEADLINE_S)
    connection.request("GET", "/kv/a")
    answer = connection.getresponse()
    assert (answer.status, b"https://" in answer.read()) == (400, True)
    connection.close()


def said_to(port: int, context: ssl.SSLContext) -> str:
    """The version that was agreed on. Raises ssl.SSLError."""
    with (
        socket.create_connection(("127.0.0.1", port), DEADLINE_S) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        # A refusal may come after the client's side of the handshake.
        secured.sendall(b"GET /health/live HTTP/1.0\r\n\r\n")
        assert secured.recv(100).startswith(b"HTTP/1.0 200")
        version = secured.version()
        assert version is not None
        return version


def only(files: Files, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = files.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    return context


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_versions_are_refused(secure: LiveServer, files: Files) -> None:
    assert said_to(secure.port, only(files, ssl.TLSVersion.TLSv1_3)) == "TLSv1.3"
    assert said_to(secure.port, only(files, ssl.TLSVersion.TLSv1_2)) == "TLSv1.2"
    for old in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        with pytest.raises(ssl.SSLError, match="ALERT"):
            said_to(secure.port, only(files, old))


def test_tls_1_3_alone_with_one_cipher(files: Files, fresh_dir: Path) -> None:
    settings = files.settings(KONSUL_TLS_MIN_VERSION="1.3", KONSUL_TLS_CIPHERS="TLS_CHACHA20_POLY1305_SHA256")
    with files.server(fresh_dir, settings) as server:
        assert said_to(server.port, only(files, ssl.TLSVersion.TLSv1_3)) == "TLSv1.3"
        with pytest.raises(ssl.SSLError, match="ALERT"):
            said_to(server.port, only(files, ssl.TLSVersion.TLSv1_2))


@pytest.mark.parametrize("auth", ["optional", "required"])
def test_clients_with_certificates(
    files: Files, tmp_path: Path, fresh_dir: Path, auth: str, space: str
) -> None:
    strangers = Files.make(tmp_path)
    alice, eve = files.client(f"alice-{auth}"), strangers.client("eve")
    settings = files.settings(KONSUL_TLS_CLIENT_AUTH=auth, KONSUL_TLS_CLIENT_CA_FILE=files.ca)
    server = files.server(fresh_dir, settings)
    server.context = files.context(alice)
    with server:
        known = Settings(
            server.base_url, ca_cert=files.ca, client_cert=str(alice.cert), client_key=str(alice.key)
        )
        with Client(known) as client:
            client.kv.set(space, "1")
            for transport in ("sse", "websocket"):
                with client.kv.watch(space, transport=transport, notices=True) as watch:
                    assert isinstance(next(watch), Connected)
        if auth == "optional":
            assert said_to(server.port, files.context()) == "TLSv1.3"
        else:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                said_to(server.port, files.context())
        foreign = files.context()
        foreign.load_cert_chain(eve.cert, eve.key)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            said_to(server.port, foreign)


def ready(server: LiveServer) -> bool:
    return server.status_of("/health/ready") == 200


def test_a_redirect_leads_to_https(files: Files, tmp_path: Path) -> None:
    peers = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    servers = []
    for number, peer in enumerate(peers):
        settings = files.settings(
            KONSUL_RAFT_ENABLED="true",
            KONSUL_RAFT_NODE_ID=f"n{number}",
            KONSUL_RAFT_BIND_ADDR=peer,
            KONSUL_RAFT_PEERS=f"n0@{peers[0]},n1@{peers[1]}",
        )
        servers.append(files.server(tmp_path / f"n{number}", settings))
    with ExitStack() as running:
        for server in servers:
            running.callback(server.kill)
            server.launch()
        for server in servers:
            until(partial(ready, server), "the cluster")
        answers = [
            running.enter_context(
                httpx.Client(base_url=one.base_url, verify=files.context(), trust_env=False)
            ).put("/kv/a", json={"value": "1"}, headers={"X-Konsul-Redirect": "true"})
            for one in servers
        ]
    assert sorted(answer.status_code for answer in answers) == [200, 307]
    leader, follower = sorted(zip(answers, servers, strict=True), key=lambda pair: pair[0].status_code)
    assert follower[0].headers["location"] == f"{leader[1].base_url}/kv/a"
