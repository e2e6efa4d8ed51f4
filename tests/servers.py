"""Servers that tests start on free loopback ports and stop again."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes], seconds: float = 30) -> None:
    """Until something answers on the port."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            message = f"{process.args} ended with {process.returncode}"
            raise RuntimeError(message)
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    message = f"nothing answers on port {port}"
    raise TimeoutError(message)


@contextmanager
def server(command: list[str], port: int, **environment: str) -> Iterator[str]:
    """Run a server for as long as the block lasts; its address."""
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def moto() -> Iterator[str]:
    """AWS's S3 and DynamoDB by moto."""
    port = free_port()
    script = Path(sys.executable).with_name("moto_server")
    with server([str(script), "-H", "127.0.0.1", "-p", str(port)], port) as address:
        yield address


AZURITE = {
    "account_name": "devstoreaccount1",
    # the emulator's own, the same everywhere and printed in its documents
    "account_key": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
}
COSMOS_KEY = "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw=="


@contextmanager
def azurite() -> Iterator[tuple[str, str]]:
    """Azure's blobs and queues by azurite: the addresses of the account's two services."""
    blob, queue, table = free_port(), free_port(), free_port()
    command = [
        _node("azurite"), "--silent", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry",
        "--blobPort", f"{blob}", "--queuePort", f"{queue}", "--tablePort", f"{table}",
    ]  # fmt: skip
    with server(command, table, **_with_node()) as _:
        account = AZURITE["account_name"]
        yield f"http://127.0.0.1:{blob}/{account}", f"http://127.0.0.1:{queue}/{account}"


@contextmanager
def cosmos() -> Iterator[str]:
    """Cosmos DB's SQL API by Vercel's server."""
    port = free_port()
    command = [_node("cosmosdb-server"), "--no-ssl", "-p", f"{port}", "--host", "127.0.0.1"]
    with server(command, port, **_with_node()) as address:
        yield address


def _node(program: str) -> str:
    """A program of node_modules, which are installed first where they are missing."""
    found = ROOT / "node_modules" / ".bin" / program
    if not found.exists():
        npm = ["npm", "ci", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(npm, cwd=ROOT, check=True, env={**os.environ, **_with_node()})
    return str(found)


def _with_node() -> dict[str, str]:
    """The environment in which the Node of the dev lock comes first."""
    return {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
