"""Azure Blob: the platform's identity, names that lead elsewhere, and what must be set."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator

import pytest

from plugins.archivers.azure_blob import AzureBlob
from plugins.connectors.azure_blob import AzureBlob as Connector
from stoq_core.errors import ConfigError, Reason, StoreError
from stoq_core.payload import ObjectRef
from stoq_core.plugin import ArchiveContext
from stoq_core.testing import make, payload

MOST = 1_000
Asked = list[tuple[str, dict[str, str]]]


class Account(http.server.BaseHTTPRequestHandler):
    """The identity endpoint of a function app and a blob service in one; both answer everything."""

    asked: Asked

    def do_GET(self) -> None:
        """Note the path and the headers."""
        self.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        token = {"access_token": "TOKEN", "expires_on": "4102444800", "token_type": "Bearer", "resource": "r"}
        answer = json.dumps(token).encode() if self.path.startswith("/identity") else b"abc"
        self.send_response(200)
        self.send_header("Content-Length", f"{len(answer)}")
        self.send_header("ETag", '"0x1"')
        self.send_header("Last-Modified", "Wed, 25 Nov 2026 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(answer)

    def do_PUT(self) -> None:
        """A blob that is there, for a caller who may add but not overwrite; another caller may nothing."""
        self.rfile.read(int(self.headers["Content-Length"]))
        code = "UnauthorizedBlobOverwrite" if "/con/" in self.path else "AuthorizationPermissionMismatch"
        answer = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code></Error>'.encode()
        self.send_response(403)
        self.send_header("Content-Length", f"{len(answer)}")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Asked]]:
    """Its address, and what it was asked; the environment is a function app's with an identity."""
    asked: Asked = []
    handler = type("Handler", (Account,), {"asked": asked})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY", raising=False)
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{address}/identity")
    monkeypatch.setenv("IDENTITY_HEADER", "of-the-function")
    monkeypatch.setenv("AZURE_CLIENT_ID", "client")
    yield address, asked
    server.shutdown()
    server.server_close()


def opened(endpoint: str) -> AzureBlob:
    """An archiver that fetches."""
    archiver = make(AzureBlob, endpoint=endpoint)
    archiver.open()
    return archiver


def ref(key: str, bucket: str = "acct/con", **pin: str) -> ObjectRef:
    """A reference."""
    return ObjectRef(store="azure_blob", bucket=bucket, key=key, **pin)


def test_who_may_is_the_functions_identity(account: tuple[str, Asked]) -> None:
    """A token of the named managed identity is asked for once, and goes with every request."""
    address, asked = account
    archiver = opened(address)
    assert archiver.get(ref("a b", etag="0x1"), MOST).content == b"abc"
    assert archiver.get(ref("a b", version="2026-01-01T00:00:00.0000000Z"), MOST).content == b"abc"
    (token, identity), (_, by_etag), (by_version, _) = asked
    assert "resource=https%3A%2F%2Fstorage.azure.com" in token
    assert "client_id=client" in token
    assert identity["x-identity-header"] == "of-the-function"
    assert by_etag["authorization"] == "Bearer TOKEN"
    assert by_etag["if-match"] == '"0x1"'
    assert by_version == "/con/a%20b?versionid=2026-01-01T00%3A00%3A00.0000000Z"


@pytest.mark.parametrize("key", ["..", "a/../b", "./a", "a/.", "a\\..\\b"])
def test_a_name_that_becomes_another_is_not_asked_for(account: tuple[str, Asked], key: str) -> None:
    """HTTP clients take `.` and `..` out of an address: another blob would be scanned in its place."""
    address, asked = account
    with pytest.raises(StoreError) as caught:
        opened(address).get(ref(key, etag="0x1"), MOST)
    assert (caught.value.reason, caught.value.retryable) == (Reason.NOT_FETCHED, False)
    assert not asked


@pytest.mark.parametrize(
    "bucket", ["", "acct", "acct/", "a.evil.example/con", "acct/con/x", "acct/..", "A/con"]
)
def test_a_reference_to_no_account_is_not_followed(account: tuple[str, Asked], bucket: str) -> None:
    """A name that is none would make an address of somebody else's choice, and the token would go there."""
    address, asked = account
    with pytest.raises(StoreError) as caught:
        opened(address).get(ref("k", bucket), MOST)
    assert (caught.value.reason, caught.value.retryable) == (Reason.NOT_FETCHED, False)
    assert not asked


def test_the_account_stands_in_the_address(account: tuple[str, Asked]) -> None:
    """`{account}` in an endpoint is the name of the reference's account."""
    address, asked = account
    opened(address + "/{account}").get(ref("k", "other/con"), MOST)
    assert asked[-1][0] == "/other/con/k"


@pytest.mark.parametrize("names", [{}, {"account": "acct"}, {"container": "con"}])
def test_a_place_to_write_must_be_named(names: dict[str, str]) -> None:
    """Account and container, both: else the start fails, or for an archiver the first archiving."""
    with pytest.raises(ConfigError, match="container"):
        make(Connector, **names).open()
    archiver = make(AzureBlob, **names)
    archiver.open()
    with pytest.raises(ConfigError, match="container"):
        archiver.archive(payload(b"x"), ArchiveContext(scan_id="s", sha256="0" * 64, report=None))


def test_a_name_that_azure_refuses_stops_the_start() -> None:
    """Before anything is asked for."""
    with pytest.raises(ConfigError, match="Upper/con"):
        make(Connector, account="Upper", container="con").open()


def test_a_right_to_add_alone_is_enough(account: tuple[str, Asked]) -> None:
    """The same bytes again are refused as an overwriting, and that is as good as written; else it failed."""
    address, _ = account
    context = ArchiveContext(scan_id="s", sha256="ab" * 32, report=None)
    archiver = make(AzureBlob, account="acct", container="con", endpoint=address)
    archiver.open()
    stored = archiver.archive(payload(b"x"), context)
    assert stored == {"bucket": "acct/con", "key": f"ab/ab/{'ab' * 32}"}
    other = make(AzureBlob, account="acct", container="other", endpoint=address)
    other.open()
    with pytest.raises(StoreError) as caught:
        other.archive(payload(b"x"), context)
    assert caught.value.retryable
