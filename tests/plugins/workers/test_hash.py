"""Digests."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.workers.hash import Hash
from stoq_core.errors import ConfigError
from stoq_core.testing import make, run


@given(st.binary(max_size=4096))
def test_digests_are_hashlibs(content: bytes) -> None:
    """Any bytes give the digests that hashlib gives."""
    wanted = {name: hashlib.new(name, content).hexdigest() for name in ("md5", "sha1", "sha256")}
    assert run(make(Hash), content).result == wanted


def test_unknown_digest_is_refused() -> None:
    """A digest that Python lacks stops the start and suggests one."""
    with pytest.raises(ConfigError, match="sha256"):
        make(Hash, algorithms=("sha265",))
