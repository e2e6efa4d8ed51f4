"""stoQ deployed by osls to an emulated AWS that runs the function: buckets, queue, table and all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import boto3

from infra.build import build
from plugins.connectors.dynamodb import Dynamodb
from stoq_core.payload import ObjectRef, scan_id_for
from stoq_core.testing import make
from tests.servers import CREDENTIALS, free_port, server

ROOT = Path(__file__).resolve().parent.parent.parent
ACCOUNT = "000000000000"
NAME = "stoq-e2e"


class Stack:
    """The deployed service and ways to look at it."""

    def __init__(self, address: str) -> None:
        """`address` is the emulator's."""
        settings: Any = {"endpoint_url": address, "region_name": "us-east-1"}
        self.s3 = boto3.client("s3", **settings)
        self.sqs = boto3.client("sqs", **settings)
        self.logs = boto3.client("logs", **settings)
        self.lambdas = boto3.client("lambda", **settings)
        self.db = boto3.client("dynamodb", **settings)
        self.incoming = f"{NAME}-incoming-{ACCOUNT}"
        self.archive = f"{NAME}-archive-{ACCOUNT}"
        self.results = make(Dynamodb, table=f"{NAME}-results", endpoint=address, region="us-east-1")

    def put(self, key: str, content: bytes) -> ObjectRef:
        """Put an object where the function listens; the reference that its event will name."""
        etag = self.s3.put_object(Bucket=self.incoming, Key=key, Body=content)["ETag"].strip('"')
        return ObjectRef(store="s3", bucket=self.incoming, key=key, etag=etag, size=len(content))

    def scan_id(self, ref: ObjectRef) -> str:
        """The id of the object's record."""
        return scan_id_for(NAME, ref.identity)

    def deliver(self, ref: ObjectRef) -> None:
        """Send the object's event once more, as S3 and SQS do now and then."""
        found = {"key": quote_plus(ref.key, safe="/"), "size": ref.size, "eTag": ref.etag}
        record = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": ref.bucket}, "object": found}}
        self.sqs.send_message(QueueUrl=self.queue("incoming"), MessageBody=json.dumps({"Records": [record]}))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The queue fills but nothing is scanned while the block runs."""
        [mapping] = self.lambdas.list_event_source_mappings(FunctionName=f"{NAME}-scan")[
            "EventSourceMappings"
        ]
        self.lambdas.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        time.sleep(2)  # a poll that had begun comes to its end
        yield
        self.lambdas.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)

    def queue(self, name: str) -> str:
        """A queue's address."""
        url: str = self.sqs.get_queue_url(QueueName=f"{NAME}-{name}")["QueueUrl"]
        return url

    def waiting(self, name: str) -> int:
        """Messages in a queue, those in flight included."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.queue(name), AttributeNames=names)
        return sum(int(found["Attributes"][one]) for one in names)

    def records(self) -> list[tuple[str, dict[str, Any]]]:
        """Every result with its object's key."""
        found = (self.results.get(line.scan_id) for line in self.results.list(1000))
        return [(one["request_meta"]["extra_data"]["object"]["key"], one) for one in found if one is not None]

    def documents(self) -> dict[str, dict[str, Any]]:
        """All results by object key."""
        return dict(self.records())

    def document(self, ref: ObjectRef, attempt: int = 1) -> dict[str, Any]:
        """The result of one object, once there is one of at least that attempt."""
        self.until(lambda: (self.results.get(self.scan_id(ref)) or {"attempt": 0})["attempt"] >= attempt)
        document = self.results.get(self.scan_id(ref))
        assert document is not None
        return document

    def parts(self, scan_id: str) -> list[str]:
        """The sort keys of all that the table holds of one scan and that does not expire."""
        found = self.db.query(
            TableName=f"{NAME}-results",
            KeyConditionExpression="scan_id = :id",
            ExpressionAttributeValues={":id": {"S": scan_id}},
        )
        return [item["part"]["S"] for item in found["Items"] if "expires" not in item]

    def archived(self) -> list[str]:
        """The digests of what the archive holds, in any order."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.archive)
        return [one["Key"].rpartition("/")[2] for page in pages for one in page.get("Contents", ())]

    def until(self, holds: Callable[[], bool], seconds: float = 240) -> None:
        """Wait until something holds, and say what was there if it never does."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if holds():
                return
            time.sleep(0.5)
        message = f"after {seconds} s: {self.waiting('incoming')} waiting; {self.log_lines()[-15:]}"
        raise TimeoutError(message)

    def log_lines(self) -> list[str]:
        """The function's own log."""
        pages = self.logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{NAME}-scan")
        return [one["message"] for page in pages for one in page["events"]]


def osls(arguments: list[str], **environment: str) -> None:
    """Run osls, which is installed first where it is missing; what it said is in the error if it fails."""
    program = ROOT / "node_modules" / ".bin" / "osls"
    if not program.exists():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=ROOT, check=True)
    settings = {**os.environ, "SLS_INTERACTIVE_SETUP_ENABLE": "0", **environment}
    done = subprocess.run(
        [str(program), *arguments], cwd=ROOT, env=settings, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stdout[-3000:] + done.stderr[-3000:])


@contextmanager
def deployed(out: Path, *, timeout_s: int = 60, visibility_s: int = 12) -> Iterator[Stack]:
    """Build the bundle, start the emulator, deploy, and take it all down again."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    bundle = build("aws", "x86_64", python, out, [], [ROOT / "tests" / "e2e" / "own_plugins"])
    port = free_port()
    own = {"GATEWAY_PORT": str(port), "MINISTACK_HOST": "127.0.0.1", "TMPDIR": str(out), **CREDENTIALS}
    with server([str(Path(sys.executable).with_name("ministack"))], port, **own) as address:
        osls(
            ["deploy", "--stage", "e2e"],
            **CREDENTIALS,
            AWS_ENDPOINT_URL=address,
            STOQ_DEPLOY_ENDPOINT=address,
            STOQ_DEPLOY_CONCURRENCY="2",
            STOQ_DEPLOY_BUNDLE=str(bundle),
            STOQ_DEPLOY_RUNTIME=f"python{python}",
            STOQ_DEPLOY_ARCHITECTURE="x86_64",
            STOQ_DEPLOY_TIMEOUT=str(timeout_s),
            STOQ_DEPLOY_VISIBILITY=str(visibility_s),
            STOQ_DEPLOY_ALWAYS='["hash","mimetype","yara","crash","kill","partial"]',
        )
        yield Stack(address)
