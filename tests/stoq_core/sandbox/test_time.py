"""Time is looked at after every read, however little comes: with a clock of the test's own."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

import pytest

from stoq_core.sandbox.run import heard_before
from stoq_core.sandbox.wire import Channel, Overdue
from tests.stoq_core.sandbox.ends import Ends


class Dripping:
    """A clock on which a second passes each time that it is looked at; a few more bytes are there then."""

    def __init__(self, content: bytes, step: int) -> None:
        """Drip `content`, over and over, `step` bytes at a time."""
        self.now = 0.0
        self.ends = Ends(clock=self)
        self._content, self._step, self._at = content * 2, step, 0

    def __call__(self) -> float:
        """The time."""
        self.now += 1
        with suppress(BlockingIOError):
            self.ends.child.send(self._content[self._at : self._at + self._step], socket.MSG_DONTWAIT)
            os.write(self.ends.bell, b"!")
        self._at = (self._at + self._step) % (len(self._content) // 2)
        return self.now


LARGE = struct.pack("<IBB", 1 << 20, 1, 0) + bytes(1 << 20)


@pytest.fixture(params=[(LARGE, 1), (LARGE, 70_000), (LARGE[:4], 1), (struct.pack("<IBB", 60_000, 1, 0), 1)])
def dripping(request: pytest.FixtureRequest) -> Iterator[Dripping]:
    """A header, a small frame and a large one, each coming in pieces."""
    one = Dripping(*request.param)
    yield one
    one.ends.close()


def test_a_frame_that_drips(dripping: Dripping) -> None:
    """It is waited for as long as was said, not as long as something comes."""
    with pytest.raises(Overdue):
        dripping.ends.broker.receive(10)
    assert dripping.now < 20


def test_others_that_ring(dripping: Dripping) -> None:
    """While others ring without end, a child's own time passes, too."""
    quiet = Ends(clock=dripping)
    seat = type("SandboxProcess", (), {"birth": dripping.ends, "queue": ()})
    seat.birth.channel = dripping.ends.broker  # type: ignore[attr-defined]
    assert not heard_before(quiet.broker, [seat], 10, dripping)  # type: ignore[list-item]
    assert dripping.now < 40
    quiet.close()


def test_one_that_takes_nothing() -> None:
    """What is sent to a child that does not read is given up in time."""
    ends = Ends()
    ticks = iter(range(1_000))
    channel = Channel(ends.broker.sock.dup(), takes_fds=False, clock=lambda: float(next(ticks)))
    with pytest.raises(Overdue):
        channel.send(1, bytes(8 << 20), (), 10)
    assert next(ticks) < 20
    channel.close()
    ends.close()
