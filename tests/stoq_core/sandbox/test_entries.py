"""What a child says is believed only where it is possible; anything else is `Malformed`, never a crash."""

from __future__ import annotations

import socket
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoq_core.body import Body
from stoq_core.errors import PluginLoadError
from stoq_core.job import Child, Hint
from stoq_core.limits import Deadline, RequestLimits
from stoq_core.payload import Payload
from stoq_core.sandbox import messages as wire
from stoq_core.sandbox.entries import Received, resumed
from stoq_core.sandbox.wire import Channel, Closed, Malformed, Overdue
from stoq_core.scan.examine import Task
from stoq_core.scan.journal import Journal

WORKERS = {"a", "b"}


def known(name: str) -> None:
    """As the index: an unknown worker raises."""
    if name not in WORKERS:
        raise PluginLoadError(f"no worker is named {name!r}")


def received() -> Received:
    """For a payload of five bytes and a budget of ten children and 1,000 bytes."""
    task = Task(
        payload=Payload(b"bytes", payload_id="id"),
        limits=RequestLimits(),
        deadline=Deadline.after_ms(1_000),
        bytes_left=1_000,
        children_left=10,
    )
    return Received(task, known, frozenset({"d"}))


def take(into: Received, *entries: Any, body: Body | None = None) -> Journal:
    """Feed entries; what is believed of them."""
    for entry in entries:
        into.take(entry, body)
    return into.journal


def nest(levels: int) -> Any:
    """A list in a list in a list."""
    made: Any = 1
    for _ in range(levels):
        made = [made]
    return made


def child(content: bytes | None = b"x", size: int = 1) -> wire.ChildMade:
    """A small child payload of `a`."""
    return wire.ChildMade("a", content, size, True, True, [], {}, None)


BEGUN = (wire.RoundStarted(["a", "b"]), wire.PluginStarted("a"))

IMPOSSIBLE = {
    "an unknown worker": [wire.RoundStarted(["c"])],
    "an empty round": [wire.RoundStarted([])],
    "a worker twice": [wire.RoundStarted(["a"]), wire.RoundStarted(["a"])],
    "a start that is not due": [wire.PluginStarted("a")],
    "a dispatcher of a round to come": [wire.PluginStarted("dispatcher:d#1")],
    "an unknown dispatcher": [wire.PluginStarted("dispatcher:e#0")],
    "two at once": [*BEGUN, wire.PluginStarted("b")],
    "the same again": [*BEGUN, wire.Finished("a", 1.0, False), wire.PluginStarted("a")],
    "an end before the start of another": [*BEGUN, wire.Finished("b", 1.0, False)],
    "two ends": [*BEGUN, wire.Finished("a", 1.0, False), wire.Finished("a", 1.0, False)],
    "a result of another": [*BEGUN, wire.Result("b", {"x": 1})],
    "a result of nobody": [wire.Result("a", {"x": 1})],
    "a child without bytes": [*BEGUN, child(None, 5)],
    "a child of another size": [*BEGUN, child(b"xy", 1)],
    "too many children": [*BEGUN, *[child()] * 11],
    "a negative score": [*BEGUN, wire.Found("a", "x", -1000, "", [])],
    "a nest": [*BEGUN, wire.Result("a", {"x": nest(40)})],
    "a long result": [*BEGUN, wire.Result("a", {"x": "y" * 2_000_000})],
}  # fmt: skip


@pytest.mark.parametrize("entries", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_no_honest_child_says(entries: list[Any]) -> None:
    """Refused as a whole: the child is killed for it."""
    with pytest.raises(Malformed):
        take(received(), *entries)


def test_what_an_honest_child_says() -> None:
    """Believed, with the payload's id put in by the broker, and the same when it is sent back to resume."""
    one = received()
    entries = [
        wire.PluginStarted("dispatcher:d#0"), wire.DispatchRequested("dispatcher:d#0", "b", {"k": 1}),
        wire.Finished("dispatcher:d#0", 1.0, False), *BEGUN, wire.Result("a", {"x": "\x00"}), child(),
        wire.Found("a", "finding", 300, "detail", ["T1059"]), wire.Hinted("a", "secret"),
        wire.Failed("a", "code", "message", False, 1, 2), wire.Unread("a", wire.Reason.CORRUPT, "m"),
        wire.Kept("a", False), wire.Finished("a", 2.0, False),
    ]  # fmt: skip
    believed = take(one, *entries)
    assert {report.payload_id for report in (*believed.errors, *believed.unread)} == {"id"}
    assert believed.results == {"a": {"x": "\\u0000"}}
    assert [(plugin, type(emit)) for plugin, emit in one.emits] == [("a", Child), ("a", Hint)]
    assert one.budget.bytes_left == 999
    again = resumed(one.sent)
    for name in ("rounds", "asked", "started", "finished", "failed", "child_bytes", "findings", "archive"):
        assert getattr(again, name) == getattr(believed, name)
    assert (len(again.errors), len(again.unread), again.results) == (1, 1, believed.results)


def test_a_child_larger_than_its_room_is_cut() -> None:
    """However it came: the broker's own budget counts."""
    one = received()
    take(one, *BEGUN, child(b"z" * 5_000, 5_000))
    [(plugin, made)] = one.emits
    assert (plugin, made.body.size, made.truncated) == ("a", 1_000, wire.Reason.TOO_MANY_BYTES)


_NAMES = st.sampled_from(["a", "b", "c", "", "dispatcher:d#0", "dispatcher:d#9", "dispatcher:", "#"])
_JSON = st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda x: st.lists(x, max_size=3))
_ENTRIES = st.one_of(
    st.builds(wire.RoundStarted, st.lists(_NAMES, max_size=3)),
    st.builds(wire.PluginStarted, _NAMES),
    st.builds(wire.Finished, _NAMES, st.floats(), st.booleans()),
    st.builds(wire.Result, _NAMES, st.dictionaries(st.text(max_size=3), _JSON, max_size=3)),
    st.builds(wire.ChildMade, _NAMES, st.none() | st.binary(max_size=9), st.integers(0, 9), st.booleans(),
              st.booleans(), st.lists(_NAMES, max_size=2), st.dictionaries(st.text(max_size=3), _JSON),
              st.none() | st.sampled_from(wire.Reason)),
    st.builds(wire.Found, _NAMES, st.text(max_size=5), st.integers(-(2**63), 2**63), st.text(max_size=5),
              st.lists(_NAMES, max_size=2)),
    st.builds(wire.Unread, _NAMES, st.sampled_from(wire.Reason), st.text(max_size=5)),
    st.builds(wire.DispatchRequested, _NAMES, _NAMES, st.dictionaries(st.text(max_size=3), _JSON)),
)  # fmt: skip


@given(st.lists(_ENTRIES, max_size=20))
def test_any_entries_are_believed_or_malformed(entries: list[Any]) -> None:
    """Nothing else is raised, and what is believed can be rendered."""
    one = received()
    try:
        believed = take(one, *entries, body=Body(b"123"))
    except Malformed:
        return
    parts = (believed.results, believed.asked, believed.findings, believed.unread, believed.rounds)
    msgspec.json.encode(parts)


@given(st.lists(st.tuples(st.integers(0, 9), st.binary(max_size=40)), max_size=5), st.binary(max_size=20))
def test_any_bytes_on_the_socket(frames: list[tuple[int, bytes]], tail: bytes) -> None:
    """Whole frames come out as they went in; what follows is `Malformed`, `Closed` or `Overdue`."""
    mine, its = socket.socketpair()
    channel = Channel(mine, takes_fds=False)
    with its:
        for kind, data in frames:
            its.sendall(struct.pack("<IBB", len(data), kind, 0) + data)
        its.sendall(tail)
    for kind, data in frames:
        assert channel.receive(1)[:2] == (kind, data)
    try:
        while True:
            channel.receive(0.01)
    except (Malformed, Closed, Overdue):
        channel.close()


def test_descriptors_that_a_child_sends_are_dropped() -> None:
    """The kernel closes them, since nobody asks for them."""
    import array
    import os

    before = len(os.listdir("/proc/self/fd"))
    mine, its = socket.socketpair()
    channel = Channel(mine, takes_fds=False)
    fds = array.array("i", [0] * 50)
    its.sendmsg([struct.pack("<IBB", 1, 1, 0) + b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
    assert channel.receive(1) == (1, b"x", ())
    channel.close()
    its.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_child_is_done_when_all_that_it_began_has_ended() -> None:
    """Neither in the middle of a plugin nor with one of the round left, which nobody would miss."""
    one = received()
    one.end()
    for entry in (*BEGUN, wire.Finished("a", 1.0, False)):
        one.take(entry, None)
        with pytest.raises(Malformed, match=r"before '[ab]' has ended"):
            one.end()
    one.take(wire.Finished("b", 0.0, True), None)
    one.end()
