"""stoQ's bundle run by the functions framework, between Google's emulators, PostgreSQL and a bucket."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import threading
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from infra.build import ROOT, build, interpreter
from plugins.connectors.firestore import Firestore
from plugins.connectors.postgres import Postgres, PostgresOptions
from stoq_core.options import Secret
from stoq_core.payload import ObjectRef, scan_id_for
from stoq_core.testing import make
from tests import emulators, gcs
from tests.postgres import postgres
from tests.servers import free_port, wait_for

NAME = "stoq-e2e"
INCOMING, QUIET, ARCHIVE = "incoming", "quiet", "archive"
"""QUIET sends no notifications: what lies there is scanned only when a message of the test names it."""

PYTHON = "3.13"
# the framework from the bundle alone: nothing that is installed beside it is found
_RUN = "import sys; sys.path.insert(0, ''); from functions_framework._cli import _cli; _cli()"


class Relay:
    """Stands between Pub/Sub's emulator and the function for what the emulator lacks.

    It adds `deliveryAttempt`, as Pub/Sub does where there are dead letters, hands one message at a time
    to the function, as the platform does, and can lose an answer on the way back.
    """

    def __init__(self, port: int) -> None:
        """`port` is the function's."""
        self.attempts: Counter[str] = Counter()
        self.lose: set[str] = set()
        """Objects whose first 204 does not arrive."""
        self.gate = threading.Lock()
        self._port = port
        relay = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                status = relay.hand_on(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def hand_on(self, content: bytes) -> int:
        """The function's status, or 503 where it died."""
        pushed = json.loads(content)
        message = pushed["message"]
        with self.gate:
            self.attempts[message["messageId"]] += 1
            pushed["deliveryAttempt"] = self.attempts[message["messageId"]]
            status = self.post(json.dumps(pushed).encode(), {"Content-Type": "application/json"})
        name = message.get("attributes", {}).get("objectId", "")
        if status == 204 and name in self.lose:
            self.lose.discard(name)
            return 503
        return status

    def post(self, content: bytes, headers: dict[str, str]) -> int:
        """One request to the function; a worker that died is there again soon."""
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
            connection.request("POST", "/", content, headers)
            status = connection.getresponse().status
            connection.close()
        except (OSError, http.client.HTTPException):
            return 503
        return status

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


class Stack:
    """All of it, and ways to look at it."""

    def __init__(self, folder: Path, pubsub: str, firestore: str, dsn: str, store: str) -> None:
        """Addresses of the servers; `folder` is the unpacked bundle."""
        from google.cloud.pubsub import PublisherClient, SubscriberClient

        self.folder, self.store = folder, store
        self.publisher, self.subscriber = PublisherClient(), SubscriberClient()
        self.client = gcs.client(store)
        self.results = Postgres(PostgresOptions(dsn=Secret("env:DSN", dsn)), "postgres")
        self.other_results = make(Firestore, project=gcs.PROJECT)
        self._log = folder.parent / "log"
        self._settings = {
            "PATH": os.environ["PATH"],
            "PUBSUB_EMULATOR_HOST": pubsub,
            "FIRESTORE_EMULATOR_HOST": firestore,
            "STOQ_DEPLOYMENT": NAME,
            "STOQ_SCAN__ALWAYS": '["hash","mimetype","yara","kill","partial"]',
            "STOQ_SCAN__FETCH": '{"gcs":"gcs"}',
            "STOQ_SCAN__ARCHIVERS": '["gcs"]',
            "STOQ_SCAN__CONNECTORS": '["postgres","firestore","pubsub"]',
            "STOQ_ARCHIVER__GCS__BUCKET": ARCHIVE,
            "STOQ_ARCHIVER__GCS__ENDPOINT": store,
            "STOQ_CONNECTOR__POSTGRES__DSN": "env:DSN",
            "DSN": dsn,
            "STOQ_CONNECTOR__FIRESTORE__PROJECT": gcs.PROJECT,
            "STOQ_CONNECTOR__PUBSUB__TOPIC": self.topic("results"),
            "STOQ_TRIGGER__BUCKET": INCOMING,
            "STOQ_TRIGGER__OTHER_BUCKETS": QUIET,
        }

    def topic(self, name: str) -> str:
        """A topic's whole name."""
        return f"projects/{gcs.PROJECT}/topics/{name}"

    def subscription(self, name: str) -> str:
        """A subscription's whole name."""
        return f"projects/{gcs.PROJECT}/subscriptions/{name}"

    @contextmanager
    def function(self, target: str, signature: str, **settings: str) -> Iterator[int]:
        """The production server with one entry point of the bundle; its port."""
        port = free_port()
        command = [interpreter(PYTHON) or "", "-S", "-E", "-c", _RUN]
        command += ["--target", target, "--signature-type", signature, "--host", "127.0.0.1"]
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [*command, "--port", str(port)], cwd=self.folder, env={**self._settings, **settings},
                stdout=log, stderr=log,
            )  # fmt: skip
        try:
            wait_for(port, process)
            yield port
        finally:
            process.terminate()
            process.wait(20)

    def connect(self, relay: Relay) -> None:
        """Topics, and subscriptions as infra/gcp makes them, but for the retry policy.

        With one, the emulator forgets a message now and then: it is delivered three times, the second time
        too early, and then never again, nor to the dead letters, whatever one does (4 of 40 tries on a busy
        machine; without one, none of 33).
        """
        for name in ("dead-letters", "results"):
            self.publisher.create_topic(name=self.topic(name))
            self.subscriber.create_subscription(name=self.subscription(name), topic=self.topic(name))
        push = {
            "name": self.subscription("incoming"),
            "topic": self.topic(gcs.TOPIC),
            "push_config": {"push_endpoint": relay.address},
            "ack_deadline_seconds": 600,
            "dead_letter_policy": {
                "dead_letter_topic": self.topic("dead-letters"),
                "max_delivery_attempts": 5,
            },
        }
        self.subscriber.create_subscription(request=push)

    def put(self, key: str, content: bytes, bucket: str = INCOMING) -> ObjectRef:
        """Put an object; the reference that its notification will name."""
        blob = self.client.bucket(bucket).blob(key)
        blob.upload_from_string(content)
        return ObjectRef(store="gcs", bucket=bucket, key=key, version=str(blob.generation), size=len(content))

    def publish(self, data: bytes = b"", **attributes: str) -> None:
        """A message of one's own."""
        self.publisher.publish(self.topic(gcs.TOPIC), data, **attributes).result(30)

    def taken(self, name: str) -> list[Any]:
        """The messages of a subscription, taken off it until there are none."""
        found: list[Any] = []
        asked = {"subscription": self.subscription(name), "max_messages": 100, "return_immediately": True}
        while True:
            with warnings.catch_warnings():
                # deprecated; but a pull whose time runs out takes messages with it in the emulator
                warnings.simplefilter("ignore", DeprecationWarning)
                page = self.subscriber.pull(request=asked).received_messages
            if not page:
                return [one.message for one in found]
            found += page
            ids = [one.ack_id for one in page]
            self.subscriber.acknowledge(subscription=self.subscription(name), ack_ids=ids)

    def scan_id(self, ref: ObjectRef) -> str:
        """The id of the object's record."""
        return scan_id_for(NAME, ref.identity)

    def document(self, ref: ObjectRef, attempt: int = 1) -> dict[str, Any]:
        """The result of one object, once there is one of at least that attempt."""
        scan_id = self.scan_id(ref)
        self.until(lambda: (self.results.get(scan_id) or {"attempt": 0})["attempt"] >= attempt)
        document = self.results.get(scan_id)
        assert document is not None
        return document

    def archived(self) -> list[str]:
        """The digests of what the archive holds, in any order."""
        return [one.name.rpartition("/")[2] for one in self.client.bucket(ARCHIVE).list_blobs()]

    def log_lines(self) -> list[str]:
        """The functions' own log."""
        return self._log.read_text("utf-8").splitlines()

    def until(self, holds: Callable[[], bool], seconds: float = 120) -> None:
        """Wait until something holds, and say what was there if it never does."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if holds():
                return
            time.sleep(0.2)
        message = f"after {seconds} s: {self.log_lines()[-15:]}"
        raise TimeoutError(message)

    def close(self) -> None:
        """Let go of the clients."""
        self.results.close()
        self.other_results.close()
        self.publisher.stop()
        self.publisher.transport.close()
        self.subscriber.close()


@contextmanager
def running(out: Path) -> Iterator[Stack]:
    """Build the bundle, start the emulators, and take it all down again."""
    if interpreter(PYTHON) is None:
        pytest.skip(f"there is no Python {PYTHON} on this machine, which the functions run: by pyenv say")
    bundle = build("gcp", "x86_64", PYTHON, out, [], [ROOT / "tests" / "e2e" / "own_plugins"])
    zipfile.ZipFile(bundle).extractall(out / "workspace")
    with (
        emulators.pubsub_emulator() as pubsub,
        emulators.firestore_emulator() as firestore,
        postgres() as dsn,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("PUBSUB_EMULATOR_HOST", pubsub)
        patch.setenv("FIRESTORE_EMULATOR_HOST", firestore)
        from google.cloud.pubsub import PublisherClient

        first = PublisherClient()  # the store looks for its topic when it starts
        first.create_topic(name=f"projects/{gcs.PROJECT}/topics/{gcs.TOPIC}")
        first.transport.close()
        with gcs.fake_gcs(pubsub, INCOMING) as store:
            stack = Stack(out / "workspace", pubsub, firestore, dsn, store)
            for name in (INCOMING, QUIET, ARCHIVE):
                stack.client.create_bucket(name)
            yield stack
            stack.close()
