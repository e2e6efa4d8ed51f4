"""The Functions host as far as a queue needs it: it starts workers and pumps messages into invocations.

Counting, releasing and poisoning follow the Storage queue extension's QueueProcessor; the numbers are
those of the bundle's host.json, but for the wait between deliveries.
"""

from __future__ import annotations

import base64
import binascii
import json
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient, QueueMessage, TextBase64EncodePolicy

WORKER = Path(__file__).with_name("azure_worker.py")
LEASE_S = 600


class WorkerDiedError(Exception):
    """The process is gone without an answer."""


class Worker:
    """One instance: a worker process with the function app in it."""

    def __init__(self, command: list[str], settings: dict[str, str], log: Path) -> None:
        """Start it; raises `RuntimeError` with what the host would log if the app does not start."""
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                command, env=settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        started = self._ask({"call": "init"})
        if started["error"]:
            self.stop()
            raise RuntimeError(started["error"])
        [self.function] = started["functions"]

    def _ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerDiedError from None
        line = self._process.stdout.readline()
        if not line:
            raise WorkerDiedError
        found: dict[str, Any] = json.loads(line)
        return found

    def invoke(self, data: Any, **metadata: Any) -> str | None:
        """Run the function; None, or what the host would log of its failure."""
        trigger = self.function["bindings"][0]
        asked = {
            "call": "invoke",
            "invocation": str(uuid.uuid4()),
            "function": self.function["id"],
            "parameter": trigger["name"],
            "data": data,
            "metadata": metadata,
        }
        error: str | None = self._ask(asked)["error"]
        return error

    def stop(self) -> None:
        """End it."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            pipe.close()
        self._process.wait(20)


class Host:
    """Some instances on one queue, and its poison queue."""

    def __init__(
        self,
        queue: QueueClient,
        poison: QueueClient,
        bundle: Path,
        start: tuple[list[str], dict[str, str], Path],
        *,
        wait_s: float,
    ) -> None:
        """`start` is what a `Worker` is made of; `wait_s` stands in for host.json's visibilityTimeout."""
        queues = json.loads((bundle / "host.json").read_text("utf-8"))["extensions"]["queues"]
        assert queues["messageEncoding"] == "base64"
        assert (queues["batchSize"], queues["newBatchThreshold"]) == (1, 0)
        self.most: int = queues["maxDequeueCount"]
        self.queue, self.poison = queue, poison
        self.failures: list[str] = []
        self.deaths = 0
        self._start = start
        self._wait_s = wait_s
        self._ends = threading.Event()

    @contextmanager
    def running(self, instances: int = 2) -> Iterator[None]:
        """Messages are pumped while the block runs; what was begun comes to its end."""
        self._ends.clear()
        threads = [threading.Thread(target=self._instance) for _ in range(instances)]
        for one in threads:
            one.start()
        try:
            yield
        finally:
            self._ends.set()
            for one in threads:
                one.join()

    def _instance(self) -> None:
        worker = Worker(*self._start)
        while not self._ends.is_set():
            found = next(iter(self.queue.receive_messages(max_messages=1, visibility_timeout=LEASE_S)), None)
            if found is None:
                time.sleep(0.1)
            elif not self._process(worker, found):
                worker.stop()
                worker = Worker(*self._start)
        worker.stop()

    def _process(self, worker: Worker, message: QueueMessage) -> bool:
        """Deliver a message once; False if the worker died of it."""
        count = message.dequeue_count or 1
        try:
            body = base64.b64decode(message.content, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            self._poison(message)
            return True
        if count > self.most:  # the host itself died of it before
            self._poison(message)
            return True
        alive, error = True, None
        try:
            error = worker.invoke(body, Id=message.id, DequeueCount=count, PopReceipt=message.pop_receipt)
        except WorkerDiedError:
            alive, error = False, "the worker died"
            self.deaths += 1
        if error is None:
            self.queue.delete_message(message)
            return alive
        self.failures.append(error)
        if count >= self.most:
            self._poison(message)
        else:
            self.queue.update_message(message, visibility_timeout=self._wait_s)
        return alive

    def _poison(self, message: QueueMessage) -> None:
        self.poison.send_message(message.content)
        self.queue.delete_message(message)

    def waiting(self) -> int:
        """Messages in the queue, those in flight included."""
        return int(self.queue.get_queue_properties().approximate_message_count or 0)

    def poisoned(self) -> list[str]:
        """The bodies in the poison queue."""
        try:
            return [base64.b64decode(one.content).decode() for one in self.poison.peek_messages(32)]
        except ResourceNotFoundError:
            return []


def encoded(text: str) -> str:
    """As Event Grid puts an event into a queue."""
    return str(TextBase64EncodePolicy().encode(text))
