"""TLSH; needs a library that a C++ compiler makes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def test_distances_are_the_librarys_and_those_too_far_are_left_out() -> None:
    """Nearest first, by name where they are equal; `max_distance` is honoured, 0 too."""
    import tlsh

    changed = TEXT[:300] + b"something else" + TEXT[314:]
    other = bytes((n * n) % 251 for n in range(3000))
    known = {"b": tlsh.hash(TEXT), "a": tlsh.hash(changed), "far": tlsh.hash(other)}
    found = run(make(Tlsh, known=known, max_distance=100), TEXT).result
    assert found is not None
    near = tlsh.diff(tlsh.hash(TEXT), known["a"])
    assert found["matches"] == [{"name": "b", "distance": 0}, {"name": "a", "distance": near}]
    assert 0 < near <= 100 < tlsh.diff(tlsh.hash(TEXT), known["far"])
    only = run(make(Tlsh, known=known, max_distance=0), TEXT).result
    assert only is not None
    assert [one["name"] for one in only["matches"]] == ["b"]


@pytest.mark.parametrize("bad", ["T1nonsense", "T1" + "G" * 70, "ab" * 36, ""])
def test_a_known_digest_that_is_none_is_refused(bad: str) -> None:
    """A typing error in the config stops the start, also one of the right length."""
    with pytest.raises(ConfigError, match=r"known\.x"):
        make(Tlsh, known={"x": bad})


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=2000))
def test_any_bytes_end_in_a_digest_or_none(content: bytes) -> None:
    """No bytes are refused; a digest has its form, and is comparable."""
    import tlsh

    ran = run(make(Tlsh, known={"text": tlsh.hash(TEXT)}, max_distance=10_000), content)
    assert ran.error is None
    if ran.result is not None:
        assert len(ran.result["tlsh"]) == 72
        assert len(ran.result["matches"]) == 1
