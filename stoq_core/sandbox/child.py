"""A child of the zygote: examine payloads that come over a socket, and say what happens as it happens."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections import deque
from contextlib import suppress
from typing import Any

import msgspec

from stoq_core.body import Body
from stoq_core.errors import PluginError
from stoq_core.job import Child
from stoq_core.limits import WALL_FACTOR, Deadline, MiB
from stoq_core.payload import Payload, PayloadMeta
from stoq_core.registry import Plugins
from stoq_core.scan import guarded
from stoq_core.scan.examine import Task, examine
from stoq_core.scan.journal import Journal, Listener
from stoq_core.tools import ToolCall, ToolRun
from stoq_core.watchdog import Overtime

from . import messages as wire
from . import protect
from .entries import resumed, to_wire
from .wire import Channel, Frame, framed

_TASK = msgspec.msgpack.Decoder(wire.Task)
_HARD_S = 0.5
_TICK_S = 0.05
_LATE_S = 0.02
"""So long the broker sleeps at the most while a plugin goes on emitting."""
_SOON_S = 0.0002
_MUCH_BYTES = 32 * 1024
_MOST_ENTRIES = 64
_LOOK_S = 0.001
"""How often it is looked at how large the process has become, at the most."""


class Alarm:
    """The watchdog of a process with one thread: a timer raises `Overtime`, a second one kills.

    The first ticks while there is work and looks whether the time is up; so a step costs no system call
    unless it has less time than a tick. The second counts processor time and has the default action, so
    that it also ends a loop in C; it is set anew once that makes a difference.
    """

    def __init__(self) -> None:
        """Take over SIGALRM."""
        self._armed = self._ticks = False
        self._until = self._cpu_until = self._kill_at = 0.0
        signal.signal(signal.SIGALRM, self._ring)
        signal.siginterrupt(signal.SIGALRM, False)  # noqa: FBT003 - positional; a tick disturbs no library
        signal.signal(signal.SIGPROF, signal.SIG_DFL)

    def arm(self, cpu_s: float, wall_s: float | None = None) -> None:
        """From now on, `Overtime` is raised once the process has used `cpu_s`, again and again.

        Or once `wall_s` has passed: `WALL_FACTOR` times as long by default.
        """
        wall_s = cpu_s * WALL_FACTOR if wall_s is None else wall_s
        self._until = time.monotonic() + wall_s
        self._cpu_until = time.process_time() + cpu_s
        self._armed = True
        if not 0 <= self._kill_at - self._cpu_until - _HARD_S / 2 <= _HARD_S / 2:
            self._kill_at = self._cpu_until + _HARD_S
            signal.setitimer(signal.ITIMER_PROF, cpu_s + _HARD_S)
        first_s = min(cpu_s, wall_s, _TICK_S)
        if not self._ticks or first_s < _TICK_S:
            self._ticks = True
            signal.setitimer(signal.ITIMER_REAL, max(1e-6, first_s), _TICK_S)

    def disarm(self) -> None:
        """Stop watching."""
        self._armed = False

    def _ring(self, _number: int, _frame: Any) -> None:
        if not self._armed:
            self._ticks = False
            signal.setitimer(signal.ITIMER_REAL, 0)
        elif time.process_time() >= self._cpu_until or time.monotonic() >= self._until:
            raise Overtime


class Outbox(Listener):
    """What is said, on its way out. Nothing that a plugin has said is held back while another's code runs.

    The broker is woken at the end, and whenever there is much to take in.
    """

    __slots__ = ("_bell", "_entries", "_large", "_rung_at", "_unheard", "channel")

    def __init__(self, channel: Channel, bell: int) -> None:
        """Write to `channel`; `bell` is the writing end of the pipe that wakes the broker."""
        self.channel = channel
        channel.stalled = self.ring
        self._entries: list[wire.Entry] = []
        self._large = False
        self._unheard = 0
        self._bell = bell
        os.set_blocking(bell, False)
        self._rung_at = time.monotonic()

    def round(self, names: list[str]) -> None:
        """See `Listener`."""
        self._entries.append(wire.RoundStarted(names))

    def start(self, plugin: str) -> None:
        """See `Listener`."""
        self._entries.append(wire.PluginStarted(plugin))

    def end(self, plugin: str, ms: float, *, failed: bool) -> None:
        """See `Listener`."""
        self._entries.append(wire.Finished(plugin, float(ms), failed))

    def emit(self, plugin: str, emit: Any) -> None:
        """See `Listener`; a frame has one result or child at the most."""
        kind = type(emit)
        large = kind is dict or kind is Child
        if (large and self._large) or len(self._entries) >= _MOST_ENTRIES:
            self.flush()
        if kind is Child and emit.body.size > wire.INLINE_BYTES:
            self.body(emit.body)
        self._large = self._large or large
        self._entries.append(to_wire(plugin, emit))

    def settle(self) -> None:
        """See `Listener`."""
        if self._entries:
            self.flush()
            if self._unheard > _MUCH_BYTES or time.monotonic() - self._rung_at > _LATE_S:
                self.ring()

    def body(self, body: Body) -> None:
        """All bytes, in parts."""
        self.flush()
        view = body.view()
        for at in range(0, len(view), wire.PART_BYTES):
            part = view[at : at + wire.PART_BYTES]
            self.channel.send(wire.BODY, part)
            self._unheard += len(part)

    def say(self, kind: int, message: Any) -> None:
        """Send what waits and then this, at once, and wake the broker.

        While there is another payload to go on with, that may wait for a moment: it then takes in several.
        """
        buffer = bytearray()
        if self._entries:
            framed(wire.ENTRIES, self._entries, buffer)
            self._entries.clear()
            self._large = False
        framed(kind, message, buffer)
        self.channel.post(buffer)
        if kind != wire.DONE or not self.channel.pending or time.monotonic() - self._rung_at > _SOON_S:
            self.ring()

    def flush(self) -> None:
        """Send what is kept."""
        if self._entries:
            buffer = bytearray()
            framed(wire.ENTRIES, self._entries, buffer)
            self.channel.post(buffer)
            self._unheard += len(buffer)
            self._entries.clear()
            self._large = False

    def ring(self) -> None:
        """Wake the broker, if it waits."""
        self._rung_at = time.monotonic()
        self._unheard = 0
        with suppress(BlockingIOError):  # it has not heard the last ones yet
            os.write(self._bell, b"!")


class RemoteTools:
    """Tools run outside this process: the broker is asked, and checks (`ToolRunner`)."""

    def __init__(self, outbox: Outbox) -> None:
        """Ask after what is in `outbox`."""
        self._channel = outbox.channel
        self._outbox = outbox
        self._early: deque[Frame] = deque()
        self.payload: Payload | None = None

    def next_task(self) -> Frame:
        """The next payload's frame; it may have come while a tool was waited for."""
        return self._early.popleft() if self._early else self._channel.receive(most=1 << 30)

    def _answer(self) -> Frame:
        while True:
            frame = self._channel.receive(most=1 << 30)
            if frame.kind != wire.TASK:
                return frame
            self._early.append(frame)

    def run(self, call: ToolCall) -> ToolRun:
        """See `ToolRunner`. The alarm is held meanwhile: the broker keeps the tool's time."""
        body, own = call.body, self.payload.body if self.payload else None
        asked = wire.ToolAsked(
            call.name,
            call.operation,
            dict(call.parameters),
            -1 if body is own else body.size,
            call.output_bytes,
            call.wall_ms,
        )
        held = {signal.SIGALRM, signal.SIGPROF}
        signal.pthread_sigmask(signal.SIG_BLOCK, held)
        try:
            self._outbox.say(wire.TOOL, asked)
            answer = self._answer()
            if answer.kind == wire.TOOL_SEND:
                self._outbox.body(body)
                self._outbox.ring()
                answer = self._answer()
            return _tool_run(answer)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, held)


def _tool_run(frame: Frame) -> ToolRun:
    ran = msgspec.msgpack.decode(frame.data, type=wire.ToolRan)
    if ran.error is not None:
        code, message, reason, allowed = ran.error
        raise PluginError(code, message, reason=reason, allowed=allowed)
    bodies = [Body.from_fd(fd) for fd in frame.fds]
    return ToolRun(
        code=ran.code,
        stdout=bodies[0],
        stderr=ran.stderr,
        files=dict(zip(ran.files, bodies[1:], strict=True)),
    )


def serve(outbox: Outbox, plugins: Plugins, bounds: protect.Bounds, missing: dict[str, str]) -> None:
    """Until the broker hangs up. Everything was given up before this begins."""
    guarded.keep_time_by(Alarm())
    tools = RemoteTools(outbox)
    plugins.tools = tools
    base, bound = protect.mapped_bytes() + bounds.memory_bytes, 0
    peak_bytes, looked_at = 0, 0.0
    outbox.say(wire.HELLO, wire.Hello(missing))
    while True:
        frame = tools.next_task()
        task, journal = _task_of(frame)
        payload: Payload = task.payload
        tools.payload = payload
        if bound != base + MiB * -(-payload.size // MiB):
            bound = base + MiB * -(-payload.size // MiB)
            protect.bound_memory(bound)
        examine(task, plugins, outbox, journal)
        tools.payload = None
        payload.body.release()
        del task, payload, journal, frame
        if (now := time.monotonic()) - looked_at > _LOOK_S:
            peak_bytes, looked_at = _peak_bytes(), now
        outbox.say(wire.DONE, wire.Done(peak_bytes))


def _task_of(frame: Frame) -> tuple[Task, Journal]:
    sent = _TASK.decode(frame.data)
    body = Body(sent.content) if sent.content is not None else Body.from_fd(frame.fds[0])
    body.know(sent.sha256)
    meta = PayloadMeta(extra_data=sent.extra_data, dispatch_to=sent.dispatch_to)
    payload = Payload(
        body,
        meta,
        payload_id=sent.payload_id,
        depth=sent.depth,
        extracted_from=sent.extracted_from,
        extracted_by=sent.extracted_by,
    )
    task = Task(
        payload=payload,
        limits=sent.limits,
        deadline=Deadline(sent.until_s),
        bytes_left=sent.bytes_left,
        children_left=sent.children_left,
        start=sent.start,
        passwords=sent.passwords,
        names=sent.names,
        prior=sent.prior,
        asked=sent.asked,
    )
    return task, resumed(sent.journal)


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def run(outbox: Outbox, plugins: Plugins, bounds: protect.Bounds, missing: dict[str, str]) -> None:
    """`serve`, and then the end of this process, whatever happens."""
    code = 70
    try:
        serve(outbox, plugins, bounds, missing)
    except BaseException as error:  # noqa: BLE001 - nothing may come back into the zygote's code
        code = 0 if type(error).__name__ == "Closed" else 71
    finally:
        os._exit(code)
