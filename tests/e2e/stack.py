"""stoQ deployed by osls to an emulated AWS that runs the function: buckets, queue, table and all."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3

from plugins.connectors.dynamodb import Dynamodb
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
        self.incoming = f"{NAME}-incoming-{ACCOUNT}"
        self.archive = f"{NAME}-archive-{ACCOUNT}"
        self.results = make(Dynamodb, table=f"{NAME}-results", endpoint=address, region="us-east-1")

    def put(self, key: str, content: bytes) -> None:
        """Put an object where the function listens."""
        self.s3.put_object(Bucket=self.incoming, Key=key, Body=content)

    def queue(self, name: str) -> str:
        """A queue's address."""
        url: str = self.sqs.get_queue_url(QueueName=f"{NAME}-{name}")["QueueUrl"]
        return url

    def waiting(self, name: str) -> int:
        """Messages in a queue, those in flight included."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.queue(name), AttributeNames=names)
        return sum(int(found["Attributes"][one]) for one in names)

    def documents(self) -> dict[str, dict[str, Any]]:
        """All results by object key."""
        found: dict[str, dict[str, Any]] = {}
        for line in self.results.list(1000):
            document = self.results.get(line.scan_id)
            if document is not None:
                found[document["request_meta"]["extra_data"]["object"]["key"]] = document
        return found

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
        group = f"/aws/lambda/{NAME}-scan"
        try:
            return [one["message"] for one in self.logs.filter_log_events(logGroupName=group)["events"]]
        except self.logs.exceptions.ResourceNotFoundException:
            return []


@contextmanager
def deployed(out: Path, *, timeout_s: int = 60, visibility_s: int = 12) -> Iterator[Stack]:
    """Build the bundle, start the emulator, deploy, and take it all down again."""
    uv = Path(sys.executable).parent
    environment = {**os.environ, **CREDENTIALS, "PATH": f"{uv}:{os.environ['PATH']}"}
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    build = [sys.executable, "infra/build.py", "--arch", "x86_64", "--python", python, "--out", str(out)]
    build += ["--plugins", str(ROOT / "tests/e2e/own_plugins")]
    subprocess.run(build, cwd=ROOT, env=environment, check=True)
    if not (ROOT / "node_modules/.bin/osls").exists():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=ROOT, check=True)
    port = free_port()
    own = {"GATEWAY_PORT": str(port), "MINISTACK_HOST": "127.0.0.1", "TMPDIR": str(out), **CREDENTIALS}
    with server([str(uv / "ministack")], port, **own) as address:
        settings = {
            "AWS_ENDPOINT_URL": address,
            "STOQ_DEPLOY_S3_ENDPOINT": address,
            "STOQ_DEPLOY_CONCURRENCY": "2",
            "STOQ_DEPLOY_BUNDLE": str(out / "stoq-aws-x86_64.zip"),
            "STOQ_DEPLOY_RUNTIME": f"python{python}",
            "STOQ_DEPLOY_ARCHITECTURE": "x86_64",
            "STOQ_DEPLOY_TIMEOUT": str(timeout_s),
            "STOQ_DEPLOY_VISIBILITY": str(visibility_s),
            "STOQ_DEPLOY_ACCOUNT": ACCOUNT,
            "STOQ_DEPLOY_ALWAYS": '["hash","mimetype","yara","kill"]',
            "SLS_INTERACTIVE_SETUP_ENABLE": "0",
        }
        deploy = ["node_modules/.bin/osls", "deploy", "--stage", "e2e"]
        done = subprocess.run(
            deploy, cwd=ROOT, env={**environment, **settings}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stdout[-3000:] + done.stderr[-3000:])
        yield Stack(address)
