"""stoQ's function app on Azure's own worker, with azurite's blobs and queues and a Cosmos DB around it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from azure.cosmos import CosmosClient, PartitionKey
from azure.storage.blob import ContainerClient
from azure.storage.queue import QueueClient

from infra import build
from plugins.connectors.cosmosdb import Cosmosdb, CosmosdbOptions
from stoq_core.options import Secret
from stoq_core.payload import ObjectRef, scan_id_for
from tests import servers
from tests.e2e.azure_host import WORKER, Host, Worker, encoded

PYTHON = "3.13"
NAME = "stoq-e2e"
ACCOUNT = servers.AZURITE["account_name"]
OWN = build.ROOT / "tests" / "e2e" / "own_plugins"


def interpreter() -> str:
    """The Python of the functions, or the test is skipped."""
    found = build.interpreter(PYTHON)
    if found is None:
        pytest.skip(f"there is no Python {PYTHON} on this machine: install it, by pyenv say")
    return found


def runtime(out: Path) -> Path:
    """A folder with Microsoft's worker as the dev lock pins it, and nothing that the bundle should bring."""
    lock = (build.ROOT / "requirements-dev.txt").read_text("utf-8")
    [block] = re.findall(r"(?m)^azure-functions-runtime==(?:.*\\\n)+.*", lock)
    (out / "runtime.txt").write_text(block + "\n", "utf-8")
    build._install(out / "runtime", "x86_64", PYTHON, out / "runtime.txt", [])
    return out / "runtime"


class Stack:
    """The app's surroundings and ways to look at them."""

    def __init__(self, out: Path, blobs: str, queues: str, cosmos: str) -> None:
        """`out` gets the bundle; the addresses are the emulators'."""
        self._out, self._blobs, self._cosmos = out, blobs, cosmos
        key: Any = servers.AZURITE
        self.incoming = ContainerClient(blobs, "incoming", credential=key)
        self.archive = ContainerClient(blobs, "archive", credential=key)
        queue = QueueClient(queues, "stoq-incoming", credential=key)
        poison = QueueClient(queues, "stoq-incoming-poison", credential=key)
        for one in (self.incoming, self.archive):
            one.create_container()
        for waiting in (queue, poison):
            waiting.create_queue()
        with CosmosClient(cosmos, servers.COSMOS_KEY, enable_endpoint_discovery=False) as client:
            client.create_database("stoq").create_container("results", PartitionKey("/scan_id"))
        options = CosmosdbOptions(endpoint=cosmos, key=Secret("env:COSMOS_KEY", servers.COSMOS_KEY))
        self.results = Cosmosdb(options, "cosmosdb")
        made = build.build("azure", "x86_64", PYTHON, out, [], [OWN])
        self.bundle = out / "wwwroot"
        zipfile.ZipFile(made).extractall(self.bundle)
        self.command = [interpreter(), "-S", "-E", str(WORKER), str(self.bundle), str(runtime(out))]
        self.log = out / "worker.log"
        self.host = Host(queue, poison, self.bundle, (self.command, self.settings(), self.log), wait_s=1)
        self.sent = 0

    def settings(self, **more: str) -> dict[str, str]:
        """The app settings, as infra/azure has them but for the emulators."""
        connection = f"DefaultEndpointsProtocol=http;BlobEndpoint={self._blobs};" + ";".join(
            f"{ours}={servers.AZURITE[theirs]}"
            for ours, theirs in (("AccountName", "account_name"), ("AccountKey", "account_key"))
        )
        return {
            "PATH": os.environ["PATH"],
            "AZURE_STORAGE_ACCOUNT_KEY": servers.AZURITE["account_key"],
            "COSMOS_KEY": servers.COSMOS_KEY,
            "Incoming": connection,
            "STOQ_DEPLOYMENT": NAME,
            "STOQ_SCAN__ALWAYS": '["hash","mimetype","yara","kill","partial"]',
            "STOQ_SCAN__FETCH": '{"azure_blob":"azure_blob"}',
            "STOQ_SCAN__ARCHIVERS": '["azure_blob"]',
            "STOQ_SCAN__CONNECTORS": '["cosmosdb"]',
            "STOQ_ARCHIVER__AZURE_BLOB__ACCOUNT": ACCOUNT,
            "STOQ_ARCHIVER__AZURE_BLOB__CONTAINER": "archive",
            "STOQ_ARCHIVER__AZURE_BLOB__ENDPOINT": self._blobs,
            "STOQ_CONNECTOR__COSMOSDB__ENDPOINT": self._cosmos,
            "STOQ_CONNECTOR__COSMOSDB__KEY": "env:COSMOS_KEY",
            "STOQ_TRIGGER__KIND": "queue",
            "STOQ_TRIGGER__BUCKET": "incoming",
            "STOQ_TRIGGER__QUEUE": "stoq-incoming",
            **more,
        }

    def worker(self, **settings: str) -> Worker:
        """One instance by itself, for what comes by no queue."""
        return Worker(self.command, self.settings(**settings), self.log)

    def put(self, key: str, content: bytes) -> ObjectRef:
        """Put a blob and send its event, every other one as a CloudEvent; the reference that it names."""
        done = self.incoming.get_blob_client(key).upload_blob(content, overwrite=True)
        etag = str(done["etag"]).strip('"')
        ref = ObjectRef(
            store="azure_blob", bucket=f"{ACCOUNT}/incoming", key=key, etag=etag, size=len(content)
        )
        self.deliver(ref)
        return ref

    def deliver(self, ref: ObjectRef) -> None:
        """Send the blob's event, as Event Grid does at least once; its ETag bare or quoted."""
        self.sent += 1
        quoted = self.sent % 3 == 0
        data = {
            "api": "PutBlob",
            "eTag": f'"{ref.etag}"' if quoted else ref.etag,
            "contentLength": ref.size,
            "url": f"https://{ACCOUNT}.blob.core.windows.net/incoming/{quote(ref.key)}",
            "sequencer": f"{self.sent:032x}",
        }
        source = f"/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/{ACCOUNT}"
        named = {
            "id": f"e-{self.sent}",
            "subject": f"/blobServices/default/containers/incoming/blobs/{ref.key}",
        }
        if self.sent % 2:
            event = {"topic": source, "eventType": "Microsoft.Storage.BlobCreated", "data": data, **named}
        else:
            event = {"source": source, "type": "Microsoft.Storage.BlobCreated", "data": data, **named}
        self.send(json.dumps(event))

    def send(self, text: str) -> None:
        """Put a message into the queue."""
        self.host.queue.send_message(encoded(text))

    def scan_id(self, ref: ObjectRef) -> str:
        """The id of the object's record."""
        return scan_id_for(NAME, ref.identity)

    def records(self) -> list[tuple[str, dict[str, Any]]]:
        """Every result with its object's key."""
        found = (self.results.get(line.scan_id) for line in self.results.list(1000))
        return [(one["request_meta"]["extra_data"]["object"]["key"], one) for one in found if one is not None]

    def parts(self, scan_id: str) -> list[str]:
        """The ids of all that the container holds of one scan."""
        return [
            one["id"] for one in self.results._of(scan_id, "SELECT c.id FROM c WHERE c.scan_id = @scan_id")
        ]

    def archived(self) -> list[str]:
        """The digests of what the archive holds, in any order."""
        return [str(one.name).rpartition("/")[2] for one in self.archive.list_blobs()]

    def logged(self, scan_id: str) -> int:
        """How many scans of an object came to their end."""
        return self.log.read_text("utf-8", "replace").count(f'"scan_id": "{scan_id}"')

    def until(self, holds: Callable[[], bool], seconds: float = 120) -> None:
        """Wait until something holds, and say what was there if it never does."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if holds():
                return
            time.sleep(0.2)
        said = self.log.read_text("utf-8", "replace")[-3000:]
        message = f"after {seconds} s: {self.host.waiting()} waiting; {self.host.failures[-3:]}; {said}"
        raise TimeoutError(message)

    def until_empty(self) -> None:
        """Wait until every message has come to its end."""
        self.until(lambda: self.host.waiting() == 0)


@contextmanager
def deployed(out: Path) -> Iterator[Stack]:
    """Build the bundle, start the emulators, and take it all down again."""
    interpreter()
    with servers.azurite() as (blobs, queues), servers.cosmos() as cosmos:
        stack = Stack(out, blobs, queues, cosmos)
        yield stack
        stack.results.close()


def run(code: str, bundle: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Python code in a process that sees the bundle and the standard library alone."""
    libraries = bundle / build.CLOUDS["azure"].libraries
    head = f"import sys; sys.path[:0] = [{str(libraries)!r}, {str(bundle)!r}]\n"
    return subprocess.run(
        [interpreter(), "-S", "-E", "-c", head + code],
        cwd=bundle, env={"PATH": os.environ["PATH"], **settings}, capture_output=True, text=True, check=False,
    )  # fmt: skip
