"""Ceilings end a child, not what stands behind it; the totals hold whatever is made of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoq_core.errors import LimitReached, Reason
from stoq_core.job import Job
from stoq_core.limits import Budget, Deadline, Limits, MiB, RequestLimits
from stoq_core.testing import FakeClock
from tests.kit import Source, scan, worker

DECOY = bytes(12 * MiB)


def budget(limits: RequestLimits, **left: int) -> Budget:
    """For a payload of a hundred bytes."""
    given_left = {"input_bytes": 100, "bytes_left": limits.extracted_bytes, "children_left": limits.payloads}
    return Budget(limits, **{**given_left, **left})


def test_a_decoy_does_not_hide_what_stands_behind_it() -> None:
    """A member that uses up the ratio is cut and named; the small one behind it is given whole."""

    def opens(payload: Any, job: Any) -> Any:
        if payload.depth == 0:
            yield job.child([DECOY], name="decoy")
            yield job.child([DECOY], name="another")
            yield job.child([b"needle"], name="needle")

    limits = RequestLimits(ratio=2, ratio_free_bytes=8 * MiB)
    scanned = scan(Source({"o": worker(opens)}, always=["o"]), b"x" * 100, limits=limits, dedup=False)
    found = {one.name: (one.size, [why.reason for why in one.unread]) for one in scanned.reports[1:]}
    assert found == {
        "decoy": (8 * MiB, [Reason.RATIO]), "another": (MiB, [Reason.RATIO]), "needle": (6, []),
    }  # fmt: skip


def test_an_ordinary_log_is_no_bomb() -> None:
    """33 MB out of 80 KB is read whole by the shipped limits."""
    limits = RequestLimits()
    one = Budget(limits, input_bytes=80_000, bytes_left=limits.extracted_bytes, children_left=10)
    assert one.room()[0] >= 33_000_000


def test_slow_members_leave_time_for_those_behind_them() -> None:
    """One child takes three quarters of the time at the most: then it is cut, and the next has its turn."""
    clock = FakeClock()

    def slow() -> Any:
        while True:
            clock.advance(1)
            yield b"x"

    job = Job("o", budget=budget(RequestLimits()), deadline=Deadline.after_ms(80_000, clock))
    first, second = job.child(slow()), job.child(slow())
    assert [(one.truncated, one.body.size) for one in (first, second)] == [
        (Reason.TIMEOUT, 60), (Reason.TIMEOUT, 15),
    ]  # fmt: skip
    assert job.child([b"needle"]).truncated is None


@given(
    sizes=st.lists(st.integers(0, 5_000), max_size=60),
    free=st.integers(0, 3_000),
    total=st.integers(0, 20_000),
    count=st.integers(0, 30),
)
def test_totals_hold_whatever_is_asked_for(sizes: list[int], free: int, total: int, count: int) -> None:
    """Bytes and children of all that is made stay within what the request has; what fits is never cut."""
    limits = RequestLimits(ratio=1, ratio_free_bytes=free, payload_bytes=2_000)
    one = budget(limits, bytes_left=total, children_left=count).bounded(Limits())
    job = Job("o", budget=one, deadline=Deadline.after_ms(60_000))
    made = []
    for size in sizes:
        room, fits = one.room()[0], one.children_left > 0
        try:
            child = job.child([bytes(size)])
        except LimitReached:
            assert not room or not fits
            continue
        made.append(child.body.size)
        assert child.body.size == min(size, room)
        assert (child.truncated is None) == (size <= room)
    assert sum(made) <= total
    assert len(made) <= count


def test_no_further_child_is_an_error_with_its_reason() -> None:
    """Neither a child too many nor one without a byte left is made."""
    for left, reason in (
        ({"children_left": 0}, Reason.TOO_MANY_PAYLOADS),
        ({"bytes_left": 0}, Reason.TOO_MANY_BYTES),
    ):
        with pytest.raises(LimitReached) as caught:
            Job("o", budget=budget(RequestLimits(), **left), deadline=Deadline.after_ms(1_000)).child([b"x"])
        assert caught.value.reason is reason
