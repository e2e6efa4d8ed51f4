"""ssdeep."""

from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.workers.hash_ssdeep import HashSsdeep
from stoq_core.testing import make, run


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=2000))
def test_any_bytes_have_a_digest(content: bytes) -> None:
    """Every payload but an empty one has blocksize:hash:hash."""
    found = run(make(HashSsdeep), content).result
    assert (found is None) == (not content)
    if found:
        assert found["ssdeep"].count(":") == 2


def test_similar_payloads_have_near_digests() -> None:
    """A change at one place leaves the digests comparable; unrelated bytes do not compare."""
    import ppdeep

    text = b" ".join(b"word%d" % (n * n % 997) for n in range(2000))
    changed = text[:4000] + b"something else" + text[4100:]
    one, near, far = (run(make(HashSsdeep), each).result for each in (text, changed, bytes(range(256)) * 40))
    assert all((one, near, far))
    assert ppdeep.compare((one or {})["ssdeep"], (near or {})["ssdeep"]) > 70
    assert ppdeep.compare((one or {})["ssdeep"], (far or {})["ssdeep"]) == 0
