"""While one child is waited for, the others go on: what they say is heard early, within bounds."""

from __future__ import annotations

import gc
import os
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from stoq_core.errors import Reason
from stoq_core.limits import MiB
from stoq_core.sandbox.pool import QUEUE
from stoq_core.sandbox.wire import Closed, Malformed
from tests.stoq_core.sandbox.ends import Ends
from tests.stoq_core.sandbox.stage import Stage, stage

ALL = ["hash", "hostile", "later"]
SLEEP = b"DO sleep_deaf\n"


@pytest.fixture
def two_children() -> Iterator[Stage]:
    """A sandbox with two children, one of which the tests keep busy."""
    with stage(sandbox__processes=2, limits__worker_wall_ms=1_500) as one:
        yield one


def test_many_are_examined_while_one_is_waited_for(two_children: Stage) -> None:
    """Sixty payloads, of which a child has eight at a time: all but those in the first one's own line.

    Then the request's time is up: what has been found in time counts all the same, the others are named.
    """
    done = two_children.scan(SLEEP, *(b"quick %d" % n for n in range(60)), wall_ms=1_400)
    first, *others = [one for one in done.reports if one.extracted_from is None]
    assert Reason.DEADLINE in {one.reason for one in first.unread}
    late = [report for report in others if report.unread]
    assert len(others) == 60
    assert len(late) < QUEUE
    assert {one.reason for report in late for one in report.unread} <= {Reason.DEADLINE}
    for report in others:
        if report in late:
            continue
        assert report.workers_run == [ALL]
        assert report.result_of("later") == {"size": report.size}


def test_one_that_has_much_to_say_meanwhile(two_children: Stage) -> None:
    """Six megabytes, three times what a socket holds: it says them, and comes to its end, in that time."""
    done = two_children.scan(SLEEP, b"DO breed 150\n", wall_ms=1_400)
    first, other = [one for one in done.reports if one.extracted_from is None]
    assert Reason.DEADLINE in {one.reason for one in first.unread}
    assert not other.unread
    assert other.workers_run == [ALL]
    assert sum(one.extracted_from == other.payload_id for one in done.reports) == 151


@pytest.mark.parametrize(
    ("attack", "code"),
    [
        ("crash", "crashed"),
        ("hoard", "memory"),
        ("garbage 010000000900ff", "malformed"),
        ("garbage 00100000", "malformed"),  # the beginning of a frame, to which its last words do not belong
        ("forge", "malformed"),
        ("hang_up", "crashed"),
        ("drip", "malformed"),
        ("flood", "timeout"),  # it wakes nobody, and its time is up before its turn
    ],
)
def test_what_another_does_meanwhile(two_children: Stage, attack: str, code: str) -> None:
    """It is blamed as if it had been waited for; those before and behind it have all of theirs."""
    held = 0
    spend = two_children.sandbox.early.spend

    def counted(request: str, size: int) -> None:
        nonlocal held
        spend(request, size)
        held = max(held, 8 * MiB - two_children.sandbox.early.left(request))

    two_children.sandbox.early.spend = counted  # type: ignore[method-assign]
    done = two_children.scan(SLEEP, f"DO {attack}\n".encode(), *(b"behind %d" % n for n in range(20)))
    roots = [one for one in done.reports if one.extracted_from is None]
    assert len(roots) == 22
    assert {(one.payload_id, one.plugin, one.code) for one in done.errors} >= {
        (roots[0].payload_id, "hostile", "timeout"),
        (roots[1].payload_id, "hostile", code),
    }
    assert {one.payload_id for one in done.errors} == {one.payload_id for one in roots[:2]}
    assert held <= 8 * MiB
    for report in roots:
        assert report.workers_run == [ALL]
        assert report.result_of("later") == {"size": report.size}
    assert [report for report in roots[2:] if report.unread] == []


def test_little_is_held_of_a_request_that_is_over(two_children: Stage) -> None:
    """Whatever ended it, the next one has all the room again."""
    for wall_ms in (400, 60_000):
        two_children.scan(SLEEP, *(b"quick %d" % n for n in range(40)), wall_ms=wall_ms)
        assert two_children.sandbox.early._held == {}


def test_one_request_delivered_twice_at_the_same_time(two_children: Stage) -> None:
    """Both are scanned side by side; neither hears, gives work to or ends the other's children."""
    contents = [b"payload %d" % n for n in range(30)]
    gc.collect()  # what other tests left behind is let go of by this thread, not by one of the pool's
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(two_children.scan, *contents) for _ in range(24)]
    for one in done:
        scanned = one.result()
        assert not scanned.errors
        assert [report.workers_run for report in scanned.reports] == [[ALL]] * 30


@pytest.fixture
def ends() -> Iterator[Ends]:
    """One child."""
    one = Ends()
    yield one
    one.close()


@pytest.fixture
def other() -> Iterator[Ends]:
    """Another one."""
    one = Ends()
    yield one
    one.close()


def frame(size: int, kind: int = 1) -> bytes:
    """A frame with so many bytes."""
    return struct.pack("<IBB", size, kind, 0) + bytes(size)


WORDS, LAST = frozenset({1, 4}), 4


def test_a_frame_is_held_once_all_of_it_is_here(ends: Ends) -> None:
    """However it comes, and without a wait."""
    began = time.monotonic()
    for byte in frame(5, 4):
        ends.broker.pull()
        assert ends.broker.held(WORDS, LAST) == []
        ends.child.send(bytes([byte]))
    assert ends.broker.pull()
    assert not ends.broker.pull()
    assert ends.broker.held(WORDS, LAST, 4) == []
    assert ends.broker.held(WORDS, LAST, 5) == [(4, bytes(5))]
    assert time.monotonic() - began < 1


def test_frames_are_held_up_to_the_last_word(ends: Ends) -> None:
    """What comes behind it is the next payload's; other kinds, and those with descriptors, are left."""
    with_descriptors = struct.pack("<IBB", 0, 1, 1)
    ends.child.send(frame(3) + frame(0) + frame(1, LAST) + frame(2) + frame(7, 2) + with_descriptors)
    ends.broker.pull()
    assert ends.broker.held(WORDS, LAST) == [(1, bytes(3)), (1, b""), (LAST, bytes(1))]
    assert ends.broker.held(WORDS, LAST) == [(1, bytes(2))]
    assert ends.broker.held(WORDS, LAST) == []
    assert ends.broker.receive(0) == (2, bytes(7), ())
    assert ends.broker.held(WORDS, LAST) == []
    with pytest.raises(Malformed):
        ends.broker.receive(0)


def test_only_so_much_is_held(ends: Ends) -> None:
    """Frames with so many bytes together."""
    ends.child.send(frame(400) * 4)
    ends.broker.pull()
    assert len(ends.broker.held(WORDS, LAST, 1_000)) == 2
    assert len(ends.broker.held(WORDS, LAST)) == 2


def test_a_long_frame_is_never_held(ends: Ends) -> None:
    """It is read in its turn, to where it stays; only so much is taken in before that."""
    writing = threading.Thread(target=ends.child.sendall, args=(frame(MiB),))
    writing.start()
    for _ in range(100):
        ends.broker.pull()
        assert ends.broker.held(WORDS, LAST, 8 * MiB) == []
    assert ends.broker.received_bytes <= 256 * 1024
    assert len(ends.broker.receive(10).data) == MiB
    writing.join()
    ends.child.close()
    with pytest.raises(Closed):
        ends.broker.pull()


def test_who_rings_first(ends: Ends, other: Ends) -> None:
    """What comes from here is not waited for any longer; who rings before is told, once a ring."""
    os.write(other.bell, b"!")
    assert ends.broker.rung_before([other.broker], 10) == [other.broker]
    began = time.monotonic()
    assert ends.broker.rung_before([other.broker], 0.25) == []
    assert 0.2 < time.monotonic() - began < 2
    ends.child.send(frame(1))
    os.write(ends.bell, b"!")
    os.write(other.bell, b"!")
    assert ends.broker.rung_before([other.broker], 10) == []
    ends.broker.receive(0)
    os.write(ends.bell, b"!")  # for what was read already
    assert ends.broker.rung_before([other.broker], 10) == [other.broker]


def test_who_cannot_ring_any_more(ends: Ends, other: Ends) -> None:
    """A child that is gone is told once and not waited for again; this one's end is `Closed`."""
    os.close(other.bell)
    other.bell = os.dup(0)
    assert ends.broker.rung_before([other.broker], 10) == [other.broker]
    assert ends.broker.rung_before([other.broker], 0.05) == []
    ends.child.close()
    with pytest.raises(Closed):
        ends.broker.rung_before([other.broker], 10)
