"""Entropy."""

import math
import os
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from plugins.workers.entropy import Entropy
from stoq_core.body import Body, anonymous_file
from stoq_core.testing import make, payload, run


@given(st.binary(min_size=1, max_size=2000))
def test_entropy_is_shannons(content: bytes) -> None:
    """Any bytes give the value of the formula."""
    parts = [n / len(content) for n in Counter(content).values()]
    wanted = -sum(part * math.log2(part) for part in parts)
    found = run(make(Entropy), content).result
    assert found is not None
    assert abs(found["entropy"] - wanted) < 1e-5


def test_blocks_are_bounded() -> None:
    """Blocks grow where there would be more than 4,096; an empty payload has no result."""
    found = run(make(Entropy, block_bytes=256), bytes(2_000_000)).result
    assert found is not None
    assert len(found["blocks"]) <= 4096
    assert found["block_bytes"] > 256
    assert run(make(Entropy), b"").result is None


@given(st.binary(min_size=1, max_size=500), st.integers(1, 600))
def test_blocks_are_as_long_as_asked(content: bytes, size: int) -> None:
    """Each block has its own value, the last one may be short; any size is honoured."""
    found = run(make(Entropy, block_bytes=size), content).result
    assert found is not None
    blocks = [content[at : at + size] for at in range(0, len(content), size)]
    alone = [(run(make(Entropy), one).result or {})["entropy"] for one in blocks]
    assert (found["block_bytes"], found["blocks"]) == (size, alone)


def test_a_large_body_is_measured_where_it_lies() -> None:
    """A payload behind a descriptor gives the same value."""
    content = os.urandom(100_000)
    fd = anonymous_file()
    os.write(fd, content)
    assert run(make(Entropy), payload(Body.from_fd(fd))).result == run(make(Entropy), content).result
