"""Fixtures that tests of several folders use."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests import servers


@pytest.fixture(scope="session")
def aws() -> Iterator[str]:
    """The address of an S3 and DynamoDB, with credentials for it in the environment."""
    before = dict(os.environ)
    os.environ.update(servers.CREDENTIALS)
    with servers.moto() as address:
        yield address
    os.environ.clear()
    os.environ.update(before)
