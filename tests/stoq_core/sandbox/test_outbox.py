"""How a child speaks: frames, the bell that wakes the broker, and the alarm that ends what never ends."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoq_core.body import Body
from stoq_core.job import Child, Finding
from stoq_core.sandbox import messages as wire
from stoq_core.sandbox.child import Alarm, Outbox
from stoq_core.sandbox.wire import Channel, Closed, Malformed, Overdue
from stoq_core.watchdog import Overtime
from tests.stoq_core.sandbox.ends import Ends


@given(st.binary(max_size=200))
def test_any_bytes_as_a_message(content: bytes) -> None:
    """A message, or `Malformed`."""
    for kind in (wire.Hello, wire.Done, wire.ToolAsked, list[wire.Entry]):
        with contextlib.suppress(Malformed):
            wire.Said(kind).decode(content)


@pytest.mark.parametrize(
    "content",
    [b"\x91\x93\xa1h\xa1a\xa1\xff", b"\x91\x93\xa1r\xa1a\x81\xa1x" + b"\x91" * 100_000],
    ids=["no text", "a nest"],
)
def test_messages_that_are_hard_to_read(content: bytes) -> None:
    """What other errors than msgspec's own come of."""
    with pytest.raises(Malformed):
        wire.ENTRIES_SAID.decode(content)


LONG = 128 * 1024


class Pair:
    """An outbox and the broker's end of it."""

    def __init__(self) -> None:
        """Both in this process."""
        self.ends = Ends()
        self.broker = self.ends.broker
        self.channel = Channel(self.ends.child, takes_fds=True)
        self.outbox = Outbox(self.channel, self.ends.bell)

    def heard(self) -> list[wire.Entry]:
        """The next frame's entries."""
        frame = self.broker.receive(5)
        assert frame.kind == wire.ENTRIES
        return wire.ENTRIES_SAID.decode(frame.data)

    def close(self) -> None:
        """Both ends."""
        self.channel.close()
        self.ends.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    """An outbox and the broker's end of it."""
    one = Pair()
    yield one
    one.close()


def test_nothing_said_is_held_back(pair: Pair) -> None:
    """What a plugin says is sent before it goes on; a plugin's end waits for the next one's start."""
    pair.outbox.round(["a", "b"])
    pair.outbox.start("a")
    pair.outbox.settle()
    assert pair.heard() == [wire.RoundStarted(["a", "b"]), wire.PluginStarted("a")]
    pair.outbox.emit("a", {"x": 1})
    pair.outbox.settle()
    assert pair.heard() == [wire.Result("a", {"x": 1})]
    pair.outbox.end("a", 1.0, failed=False)
    pair.outbox.start("b")
    pair.outbox.settle()
    assert pair.heard() == [wire.Finished("a", 1.0, False), wire.PluginStarted("b")]
    pair.outbox.end("b", 1.0, failed=False)
    pair.outbox.say(wire.DONE, wire.Done(1))
    assert pair.heard() == [wire.Finished("b", 1.0, False)]
    assert pair.broker.receive(5).kind == wire.DONE


def test_a_list_of_emits(pair: Pair) -> None:
    """What needs no code between comes together, but a frame stays short: one result or child, few others."""
    for n in range(100):
        pair.outbox.emit("a", Finding("found", n))
    for n in range(3):
        pair.outbox.emit("a", {"x": n})
    pair.outbox.emit("a", Child(body=Body(b"x")))
    pair.outbox.end("a", 1.0, failed=False)
    pair.outbox.settle()
    frames = [pair.heard() for _ in range(5)]
    assert [len(frame) for frame in frames] == [64, 37, 1, 1, 2]
    assert [one.score for frame in frames for one in frame if isinstance(one, wire.Found)] == [*range(100)]
    assert [one.values["x"] for frame in frames for one in frame if isinstance(one, wire.Result)] == [0, 1, 2]
    pair.outbox.settle()
    with pytest.raises(Overdue):
        pair.broker.receive(0)


def test_the_broker_is_woken_where_there_is_much_to_take_in(pair: Pair) -> None:
    """Not only when the socket is full."""
    for n in range(5):
        pair.outbox.emit("a", Child(body=Body(bytes(10_000))))
        pair.outbox.settle()
        assert bool(select.select([pair.ends.heard], [], [], 0)[0]) == (n >= 3)


def test_a_large_entry_and_a_large_body(pair: Pair) -> None:
    """What is larger than the socket holds comes whole and in order."""
    size = 5 * wire.PART_BYTES + 1

    def say() -> None:
        pair.outbox.emit("a", {"x": 1})
        pair.outbox.emit("a", {"long": "y" * LONG})
        pair.outbox.emit("a", Child(body=Body(bytes(size))))
        pair.outbox.say(wire.DONE, wire.Done(1))

    thread = threading.Thread(target=say)
    thread.start()
    assert pair.heard() == [wire.Result("a", {"x": 1})]
    assert pair.heard() == [wire.Result("a", {"long": "y" * LONG})]
    came = 0
    while came < size:
        frame = pair.broker.receive(5)
        assert frame.kind == wire.BODY
        came += len(frame.data)
    [made] = pair.heard()
    assert isinstance(made, wire.ChildMade)
    assert (made.size, made.content, came) == (size, None, size)
    assert pair.broker.receive(5).kind == wire.DONE
    thread.join()


def test_a_ring_wakes_at_once(pair: Pair) -> None:
    """The last word of a payload is heard when it is said, not at the next tick."""
    times = []
    for _ in range(5):
        timer = threading.Timer(0.02, pair.outbox.say, (wire.DONE, wire.Done(1)))
        timer.start()
        began = time.monotonic()
        assert pair.broker.receive(5).kind == wire.DONE
        times.append(time.monotonic() - began)
        timer.join()
    assert min(times) < 0.09


def test_what_nobody_rings_for_is_heard_all_the_same(pair: Pair) -> None:
    """A tick later at the most; and a bell that is gone is no end."""
    pair.channel.send(wire.DONE, b"x")
    assert pair.broker.receive(5).kind == wire.DONE
    os.dup2(pair.broker.sock.fileno(), pair.ends.bell)  # nobody can ring any more
    pair.channel.send(wire.DONE, b"x")
    assert pair.broker.receive(5).kind == wire.DONE
    with pytest.raises(Overdue):
        pair.broker.receive(0.01)
    pair.channel.close()
    with pytest.raises(Closed):
        pair.broker.receive(5)


def in_a_process(call: Callable[[], None]) -> int:
    """How a forked process that calls it ends, as waitpid(2) says it."""
    pid = os.fork()
    if pid == 0:
        try:
            call()
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1]


def loop(alarm: Alarm) -> None:
    """Python code that never ends, under the alarm; leaves with the time that it was given."""
    began = time.monotonic()
    try:
        while True:
            pass
    except Overtime:
        alarm.disarm()
        os._exit(0 if time.monotonic() - began < 1 else 2)


@pytest.mark.parametrize("wall_s", [0.01, 0.2])
def test_the_alarm_ends_python(wall_s: float) -> None:
    """After that time and not before, however long the step before it was allowed."""

    def step() -> None:
        alarm = Alarm()
        for _ in range(1_000):
            alarm.arm(30)
            alarm.disarm()
        began = time.monotonic()
        alarm.arm(wall_s)
        try:
            loop(alarm)
        except Overtime:
            os._exit(0 if time.monotonic() - began >= wall_s else 3)

    assert os.waitstatus_to_exitcode(in_a_process(step)) == 0


def test_the_alarm_ends_c() -> None:
    """A loop that never comes back to Python is killed by the processor time that it takes."""

    def step() -> None:
        alarm = Alarm()
        alarm.arm(30)
        alarm.disarm()
        alarm.arm(0.1)
        sum(range(10**15))

    assert os.WTERMSIG(in_a_process(step)) == signal.SIGPROF


def test_nothing_rings_once_there_is_no_work() -> None:
    """A child that waits is left alone."""

    def step() -> None:
        alarm = Alarm()
        alarm.arm(0.02)
        alarm.disarm()
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            pass
        os._exit(0 if signal.getitimer(signal.ITIMER_REAL)[0] == 0 else 1)

    assert in_a_process(step) == 0
