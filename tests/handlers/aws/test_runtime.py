"""Under Lambda's own runtime interface client, with no /dev/shm: the sandbox starts and does its work."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from plugins.connectors.s3 import S3
from stoq_core.testing import make
from tests.handlers.aws.fakes import event
from tests.servers import CREDENTIALS

ROOT = Path(__file__).resolve().parents[3]
_ARN = "arn:aws:lambda:us-east-1:000000000000:function:x"
_PREFIX = "/2018-06-01/runtime"


class RuntimeApi(http.server.ThreadingHTTPServer):
    """Hands out events and keeps what comes back (AWS Lambda documentation, *Runtime API*)."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        """Hand out these, one after the other, then nothing any more."""
        super().__init__(("127.0.0.1", 0), _Answers)
        self.events = list(events)
        self.answers: list[tuple[str, Any]] = []
        self.answered = threading.Condition()

    def wait_for(self, count: int, seconds: float) -> list[tuple[str, Any]]:
        """Until so many answers are there."""
        with self.answered:
            assert self.answered.wait_for(lambda: len(self.answers) >= count, seconds), self.answers
        return self.answers


class _Answers(http.server.BaseHTTPRequestHandler):
    server: RuntimeApi

    def do_GET(self) -> None:
        """The next event."""
        if not self.server.events:
            time.sleep(3_600)
        body = json.dumps(self.server.events.pop(0)).encode()
        self.send_response(200)
        self.send_header("Lambda-Runtime-Aws-Request-Id", f"request-{len(self.server.answers)}")
        self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + 60) * 1000)))
        self.send_header(
            "Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:000000000000:function:x"
        )
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """An answer, an error, or a failed start."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"null")
        with self.server.answered:
            self.server.answers.append((self.path.removeprefix(_PREFIX), body))
            self.server.answered.notify_all()
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def function(api: RuntimeApi, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """The function's process as Lambda starts it, in a mount namespace whose /dev/shm cannot be used."""
    threading.Thread(target=api.serve_forever, daemon=True).start()
    environment = {
        **CREDENTIALS, **settings, "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT),
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.server_address[1]}",
        "AWS_LAMBDA_FUNCTION_NAME": "x", "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "2048", "AWS_LAMBDA_LOG_GROUP_NAME": "g",
        "AWS_LAMBDA_LOG_STREAM_NAME": "s", "LAMBDA_TASK_ROOT": str(ROOT),
    }  # fmt: skip
    hide = "mount -t tmpfs -o ro,mode=000 none /dev/shm && test ! -w /dev/shm/x"
    loop = f'{hide}; exec "{sys.executable}" -m awslambdaric handlers.aws.sqs.handle'
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", loop], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        api.shutdown()
        api.server_close()


@pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("unshare") is None, reason="a mount namespace: run as root on Linux"
)
def test_the_real_loop_without_shared_memory(aws: str) -> None:
    """Three batches in one warm process: scanned in the sandbox, stored, an unparsable one given back."""
    s3 = boto3.client("s3", endpoint_url=aws)
    for bucket in ("incoming-example", "ric-results"):
        s3.create_bucket(Bucket=bucket)
    etag = s3.put_object(Bucket="incoming-example", Key="a b+c%/コ.txt", Body=b"as it came")["ETag"].strip(
        '"'
    )
    batch = json.loads(json.dumps(event("sqs-s3")).replace("d41d8cd98f00b204e9800998ecf8427e", etag))
    unknown = {"Records": [{"messageId": "m1", "body": "{}", "attributes": {"ApproximateReceiveCount": "1"}}]}
    api = RuntimeApi([batch, unknown, batch])
    settings = {
        "STOQ_SCAN__FETCH": '{"s3":"s3"}', "STOQ_SCAN__CONNECTORS": '["s3"]',
        "STOQ_ARCHIVER__S3__BUCKET": "incoming-example", "STOQ_ARCHIVER__S3__ENDPOINT": aws,
        "STOQ_CONNECTOR__S3__BUCKET": "ric-results", "STOQ_CONNECTOR__S3__ENDPOINT": aws,
    }  # fmt: skip
    with function(api, **settings):
        answers = api.wait_for(3, 60)
    assert [path.rpartition("/")[2] for path, _ in answers] == ["response"] * 3
    failures = [[one["itemIdentifier"] for one in body["batchItemFailures"]] for _, body in answers]
    assert failures == [[], ["m1"], []]
    store = make(S3, bucket="ric-results", endpoint=aws)
    store.open()
    [line] = store.list(10)
    document = store.get(line.scan_id)
    assert document is not None
    assert document["stats"]["sandbox"]["mode"] == "process"
    assert document["results"][0]["workers"][0]["hash"]["sha256"] == document["results"][0]["sha256"]


@pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("unshare") is None, reason="a mount namespace: run as root on Linux"
)
def test_a_bad_deployment_is_an_init_error() -> None:
    """Lambda is told why at the start, before any event is taken."""
    api = RuntimeApi([{"never": "taken"}])
    with function(api, STOQ_SCAN__ALWAYS='["hsah"]'):
        [(path, body)] = api.wait_for(1, 60)
    assert path == "/init/error"
    assert "Did you mean 'hash'" in body["errorMessage"]
    assert api.events
