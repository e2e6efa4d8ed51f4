"""TLSH; needs a library that a C++ compiler makes."""

import pytest

pytest.importorskip("tlsh", reason="apt-get install g++ python3-dev, then make setup-dev")

from plugins.workers.tlsh import Tlsh
from stoq_core.errors import ConfigError
from stoq_core.testing import make, run

TEXT = bytes(range(256)) * 4


def test_known_digests_are_found() -> None:
    """The same bytes are at distance 0 from their own digest; short bytes have none."""
    found = run(make(Tlsh), TEXT).result
    assert found is not None
    again = run(make(Tlsh, known={"same": found["tlsh"]}), TEXT).result
    assert again is not None
    assert again["matches"] == [{"name": "same", "distance": 0}]
    assert run(make(Tlsh), b"short").result is None


def test_a_known_digest_that_is_none_is_refused() -> None:
    """A typing error in the config stops the start."""
    with pytest.raises(ConfigError, match=r"known\.x"):
        make(Tlsh, known={"x": "T1nonsense"})
