"""The three clouds as one table needs them: put files, send their events to the function, read the records.

The function is the handler's own, in a process of its own, with the settings of a deployment but for the
addresses of the servers; events have the shape that the cloud's queue delivers.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, quote_plus

from plugins.connectors.azure_blob import AzureBlob
from plugins.connectors.gcs import Gcs
from plugins.connectors.s3 import S3
from stoq_core.payload import ObjectRef, scan_id_for
from stoq_core.testing import make
from tests import gcs, servers

ROOT = Path(__file__).resolve().parent.parent.parent
NAME = "stoq-e2e"


class Cloud:
    """Three buckets and a function between them."""

    name: ClassVar[str]
    store: ClassVar[str]
    """Of its references; its archiver and its connector have the same name."""
    fixture: ClassVar[str]
    """The fixture that gives the server's address."""
    settings: dict[str, str]
    """For archiver and connector alike, but for the bucket."""
    connector: Any
    bucket = "bucket"
    """The option that names the bucket."""

    def __init__(self, address: str) -> None:
        """`address` is the server's."""
        tail = uuid.uuid4().hex[:8]
        self.incoming, self.archive, self.results = (f"{one}-{tail}" for one in ("in", "archive", "results"))

    def put(self, key: str, content: bytes) -> ObjectRef:
        """Write an object; the reference that its event carries."""
        raise AssertionError

    def message(self, ref: ObjectRef, number: int) -> dict[str, Any]:
        """The object's event as the queue hands it to the function."""
        raise AssertionError

    def environment(self, **more: str) -> dict[str, str]:
        """The function's settings; everything else is as stoq.toml has it."""
        chosen = {name: text for name, text in os.environ.items() if not name.startswith("STOQ_")}
        for kind, where in (("ARCHIVER", self.archive), ("CONNECTOR", self.results)):
            for option, text in {**self.settings, self.bucket: where}.items():
                chosen[f"STOQ_{kind}__{self.store.upper()}__{option.upper()}"] = text
        return {
            **chosen,
            "STOQ_DEPLOYMENT": NAME,
            "STOQ_TRIGGER__BUCKET": self.incoming,
            "STOQ_SCAN__FETCH": json.dumps({self.store: self.store}),
            "STOQ_SCAN__ARCHIVERS": json.dumps([self.store]),
            "STOQ_SCAN__CONNECTORS": json.dumps([self.store]),
            **more,
        }

    def scan(self, files: Mapping[str, bytes], **settings: str) -> dict[str, dict[str, Any]]:
        """Put all files, send an event for each, and what the results' bucket then holds of it, by name."""
        refs = {name: self.put(name, content) for name, content in files.items()}
        sent = "".join(json.dumps(self.message(ref, n)) + "\n" for n, ref in enumerate(refs.values()))
        command = [sys.executable, "-m", "tests.e2e.cloud_path", self.name]
        done = subprocess.run(
            command, input=sent, cwd=ROOT, env=self.environment(**settings),
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        if done.returncode or done.stdout.split() != ["true"] * len(files):
            message = f"{self.name}: {done.returncode}, {done.stdout.split()}, {done.stderr[-3000:]}"
            raise RuntimeError(message)
        found = {}
        for name, ref in refs.items():
            record = self.connector.get(scan_id_for(NAME, ref.identity))
            assert record is not None, name
            found[name] = record
        return found


class Aws(Cloud):
    """S3 by moto; SQS's batches of one."""

    name, store, fixture = "aws", "s3", "aws"

    def __init__(self, address: str) -> None:
        """Make the buckets."""
        import boto3

        super().__init__(address)
        self._client = boto3.client("s3", endpoint_url=address)
        for one in (self.incoming, self.archive, self.results):
            self._client.create_bucket(Bucket=one)
        self.settings = {"endpoint": address, "region": "us-east-1"}
        self.connector = make(S3, bucket=self.results, **self.settings)
        self.connector.open()

    def put(self, key: str, content: bytes) -> ObjectRef:
        """Write an object; the reference that its event carries."""
        etag = self._client.put_object(Bucket=self.incoming, Key=key, Body=content)["ETag"].strip('"')
        return ObjectRef(store="s3", bucket=self.incoming, key=key, etag=etag, size=len(content))

    def message(self, ref: ObjectRef, number: int) -> dict[str, Any]:
        """S3's notification in an SQS message."""
        found = {"key": quote_plus(ref.key, safe="/"), "size": ref.size, "eTag": ref.etag}
        record = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": ref.bucket}, "object": found}}
        body = json.dumps({"Records": [record]})
        return {
            "Records": [
                {
                    "messageId": f"m-{number}",
                    "body": body,
                    "attributes": {"ApproximateReceiveCount": "1"},
                    "eventSource": "aws:sqs",
                }
            ]
        }


class Google(Cloud):
    """Cloud Storage by fake-gcs-server; pushes of Pub/Sub."""

    name, store, fixture = "gcp", "gcs", "google"

    def __init__(self, address: str) -> None:
        """Make the buckets."""
        super().__init__(address)
        self._client = gcs.client(address)
        for one in (self.incoming, self.archive, self.results):
            self._client.create_bucket(one)
        self.settings = {"endpoint": address}
        self.connector = make(Gcs, bucket=self.results, **self.settings)
        self.connector.open()

    def put(self, key: str, content: bytes) -> ObjectRef:
        """Write an object; the reference that its event carries."""
        blob = self._client.bucket(self.incoming).blob(key)
        blob.upload_from_string(content)
        version = str(blob.generation)
        return ObjectRef(store="gcs", bucket=self.incoming, key=key, version=version, size=len(content))

    def message(self, ref: ObjectRef, number: int) -> dict[str, Any]:
        """A notification of payload format JSON_API_V1, pushed."""
        attributes = {
            "eventType": "OBJECT_FINALIZE",
            "payloadFormat": "JSON_API_V1",
            "bucketId": ref.bucket,
            "objectId": ref.key,
            "objectGeneration": ref.version,
        }
        data = base64.b64encode(json.dumps({"size": f"{ref.size}"}).encode()).decode()
        message = {"messageId": f"{number}", "attributes": attributes, "data": data}
        return {"message": message, "subscription": "projects/p/subscriptions/s", "deliveryAttempt": 1}


class Azure(Cloud):
    """Blobs by azurite; messages of a Storage queue."""

    name, store, fixture, bucket = "azure", "azure_blob", "azure", "container"

    def __init__(self, address: str) -> None:
        """Make the containers."""
        from azure.storage.blob import BlobServiceClient

        super().__init__(address)
        key: Any = servers.AZURITE
        self._client = BlobServiceClient(address, credential=key)
        for one in (self.incoming, self.archive, self.results):
            self._client.create_container(one)
        self._account = servers.AZURITE["account_name"]
        self.settings = {"endpoint": address, "account": self._account}
        self.connector = make(AzureBlob, container=self.results, **self.settings)
        self.connector.open()

    def put(self, key: str, content: bytes) -> ObjectRef:
        """Write an object; the reference that its event carries."""
        done = self._client.get_blob_client(self.incoming, key).upload_blob(content)
        bucket, etag = f"{self._account}/{self.incoming}", str(done["etag"]).strip('"')
        return ObjectRef(store="azure_blob", bucket=bucket, key=key, etag=etag, size=len(content))

    def message(self, ref: ObjectRef, number: int) -> dict[str, Any]:
        """Event Grid's event in a queue message."""
        url = f"https://{self._account}.blob.core.windows.net/{self.incoming}/{quote(ref.key)}"
        event = {
            "id": f"e-{number}",
            "eventType": "Microsoft.Storage.BlobCreated",
            "topic": f"/subscriptions/s/providers/Microsoft.Storage/storageAccounts/{self._account}",
            "data": {"api": "PutBlob", "eTag": ref.etag, "contentLength": ref.size, "url": url},
        }
        return {"id": f"m-{number}", "body": json.dumps(event), "dequeue_count": 1}


CLOUDS: dict[str, type[Cloud]] = {one.name: one for one in (Aws, Google, Azure)}
