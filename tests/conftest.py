"""Fixtures that tests of several folders use."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests import emulators, gcs, servers
from tests.postgres import postgres

_THRESHOLD = gc.get_threshold()

# a machine that has other things to do is no reason to fail: nothing here is measured by the clock
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    """Functions let garbage lie (`ahead`, `bootstrap.settled`); here who made it collects it soon."""
    yield
    if gc.get_threshold() != _THRESHOLD or not gc.isenabled():
        gc.set_threshold(*_THRESHOLD)
        gc.enable()
        gc.collect()


@pytest.fixture(scope="session")
def aws() -> Iterator[str]:
    """The address of an S3 and DynamoDB, with credentials for it in the environment."""
    before = dict(os.environ)
    os.environ.update(servers.CREDENTIALS)
    with servers.moto() as address:
        yield address
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def azurite() -> Iterator[tuple[str, str]]:
    """The addresses of blobs and queues, with the account's key in the environment."""
    before = dict(os.environ)
    os.environ["AZURE_STORAGE_ACCOUNT_KEY"] = servers.AZURITE["account_key"]
    with servers.azurite() as addresses:
        yield addresses
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def azure(azurite: tuple[str, str]) -> str:
    """The address of an account's blobs."""
    return azurite[0]


@pytest.fixture(scope="session")
def cosmos() -> Iterator[str]:
    """The address of a Cosmos DB account."""
    with servers.cosmos() as address:
        yield address


@pytest.fixture(scope="session")
def google() -> Iterator[str]:
    """The address of a Google Cloud Storage."""
    with gcs.fake_gcs() as address:
        yield address


@pytest.fixture(scope="session")
def database() -> Iterator[str]:
    """The connection string of a PostgreSQL server."""
    with postgres() as dsn:
        yield dsn


@pytest.fixture(scope="session")
def firestore() -> Iterator[str]:
    """The address of a Firestore, which is in the environment too."""
    with emulators.firestore_emulator() as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRESTORE_EMULATOR_HOST", address)
        yield address


@pytest.fixture(scope="session")
def pubsub() -> Iterator[str]:
    """The address of a Pub/Sub, which is in the environment too."""
    with emulators.pubsub_emulator() as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUBSUB_EMULATOR_HOST", address)
        yield address
