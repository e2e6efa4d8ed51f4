"""Google's own emulators of Pub/Sub and Firestore, which come with the Google Cloud CLI."""

from __future__ import annotations

import glob
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.servers import free_port, server

_FOLDERS = ("/usr/lib/google-cloud-sdk", "/usr/share/google-cloud-sdk", "/opt/google-cloud-sdk")
_FIRESTORE = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"


def _jar(pattern: str, package: str) -> str:
    program = shutil.which("gcloud")
    folders = [*_FOLDERS, *([program.rpartition("/bin/")[0]] if program else [])]
    found = [one for folder in folders for one in glob.glob(f"{folder}/platform/{pattern}")]
    if not found or shutil.which("java") is None:
        pytest.skip(f"no {package}: it comes with the Google Cloud CLI (its Debian package has that name)")
    return found[0]


@contextmanager
def pubsub_emulator() -> Iterator[str]:
    """Its `HOST:PORT`, as PUBSUB_EMULATOR_HOST wants it."""
    jar = _jar("pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar", "google-cloud-cli-pubsub-emulator")
    port = free_port()
    with server(["java", "-Xmx512m", "-jar", jar, "--host=127.0.0.1", f"--port={port}"], port):
        yield f"127.0.0.1:{port}"


@contextmanager
def firestore_emulator() -> Iterator[str]:
    """Its `HOST:PORT`, as FIRESTORE_EMULATOR_HOST wants it."""
    pattern = "cloud-firestore-emulator/cloud-firestore-emulator.jar"
    jar, port = _jar(pattern, "google-cloud-cli-firestore-emulator"), free_port()
    command = ["java", "-Xmx768m", "-Duser.language=en", "-cp", jar, _FIRESTORE, "start"]
    with server([*command, "--host=127.0.0.1", f"--port={port}"], port):
        yield f"127.0.0.1:{port}"
