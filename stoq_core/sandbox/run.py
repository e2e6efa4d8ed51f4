"""One payload through the sandbox: send it, believe what is possible, go on in another child if one dies."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from stoq_core.body import BodyWriter
from stoq_core.errors import Reason
from stoq_core.limits import WALL_FACTOR, Clock
from stoq_core.scan.examine import Task
from stoq_core.scan.journal import Journal, Listener

from . import messages as wire
from .control import ZygoteGone
from .endings import ending
from .entries import Received
from .holdings import nodes_of
from .pool import QUEUE
from .sending import message_of
from .threads import MOST_THREADS, Crowd
from .wire import Channel, Closed, Flood, Malformed, Overdue, Words

if TYPE_CHECKING:
    from .client import Sandbox
    from .pool import SandboxProcess

_INLINE_BYTES = 256 * 1024
_WAITING_BYTES = 32 * 1024  # in a socket's buffer, while the child is at another payload and reads nothing
_GRACE_S = 1.0
_LATE_S = 0.5
_SEND_S = 5.0
_LAST_WORDS_S = 1.0  # of one that is dead: what it had sent is here
_UNCOUNTED_BYTES = 64 * 1024  # of which no decoder makes more than 5 MiB
_MORE_NODES = 10_000  # of entries, beside those of one result
_FRAME_BYTES = 64  # that a frame costs, whatever it holds
_SLACK_BYTES = 64 * 1024 * 1024
_MOST_DEATHS = 200
_MOST_IDLE_DEATHS = 3
_WORDS = frozenset({wire.ENTRIES, wire.DONE})
_DONE = wire.Said(wire.Done)
_TOOL = wire.Said(wire.ToolAsked)


class SandboxRun:
    """One task; its payload is sent off at once, to a child that may still have another."""

    def __init__(self, sandbox: Sandbox, task: Task, process: SandboxProcess | None) -> None:
        """Send the task to the child in `process`; without one, as nothing more is kept, it is over."""
        self._sandbox = sandbox
        self._task = task
        self._received = Received(
            task, sandbox.index.worker, sandbox.index.dispatcher_names, sandbox.holdings
        )
        self._early_bytes: int | None = 0
        """Heard before the engine wants it; None once it does."""
        self._body: BodyWriter | None = None
        self._deaths = self._idle_deaths = 0
        self._over = False
        self._clock = task.deadline.clock
        self._listens_since_s: float | None = None
        self._process: SandboxProcess | None = None
        if process is None:
            self._give_up(self._why_not_again())
        else:
            self._begin(process)

    def finish(self, listener: Listener) -> Journal:
        """To its end; `listener` hears of children and hints, and of pauses."""
        self._give_back()
        emits = self._received.emits
        if not self._over and self._sandbox.holdings.full(self._task.request):
            self._give_up(self._why_not_again())
            self.close()
        while True:
            while emits:
                listener.emit(*emits.popleft())
            if self._over:
                return self._received.journal
            if self._hear_more():
                listener.pause()

    def _hear_more(self) -> bool:
        """Wait until the child says more; true if another one came to a payload's end before."""
        try:
            process = self._at_work()
            channel = process.birth.channel
            channel.watched = process.birth.count_threads
            self._listens_since_s = self._clock()  # until the end it is the child's time, whatever it says
            try:
                return self._listen(process, channel)
            finally:
                channel.attended_s = self._attended_s(channel)
                self._listens_since_s = None
        except (Closed, Crowd, Overdue, Malformed, ZygoteGone) as error:
            if self._process is None:  # there is no child to be had, nor another zygote
                raise
            self._kill_and_reap(error)
        return False

    def _listen(self, process: SandboxProcess, channel: Channel) -> bool:
        others = None if self._sandbox.pool.alone else self._sandbox.pool.beside(process)
        if others and heard_before(channel, others, self._wait_s(channel), self._clock):
            return True
        self._hear(process)
        if not self._over and self._wait_s(channel) <= 0:
            raise Overdue
        return False

    def _attended_s(self, channel: Channel) -> float:
        since_s = self._listens_since_s
        return channel.attended_s + (0.0 if since_s is None else self._clock() - since_s)

    def _give_back(self) -> None:
        if self._early_bytes:
            self._sandbox.early.give_back(self._task.request, self._early_bytes)
        self._early_bytes = None

    @property
    def ended(self) -> bool:
        """True once the child has said all."""
        return self._over

    def close(self) -> None:
        """Nobody wants the rest."""
        self._over = True
        self._give_back()
        process, self._process = self._process, None
        if process is None:
            return
        if process.queue[0] is self:
            self._sandbox.pool.end(process)
        else:
            self._sandbox.pool.leave(process, self)

    def hear_early(self) -> bool:
        """Take in what the child has said of this payload, as far as it is here; true if that was all.

        Little is held for the engine: who has much to say, or asks for a tool, waits for its turn.
        """
        process, early, request = self._process, self._sandbox.early, self._task.request
        if process is None or self._early_bytes is None:
            return False
        self._hear_from(process)
        channel = process.birth.channel
        try:
            while not self._over:  # each round takes room, or fills the buffer, which ends
                frames = channel.held(_WORDS, wire.DONE, early.left(request))
                if frames:
                    size = sum([len(data) + _FRAME_BYTES for _, data in frames])
                    early.spend(request, size)
                    self._early_bytes += size
                    self._heard(frames, process)
                elif not channel.pull():
                    break
        except (Closed, Overdue, Malformed) as error:
            self._kill_and_reap(error)
        return self._over

    def lose_process(self) -> None:
        """The child is gone before it came to this payload."""
        self._process = None

    def _begin(self, process: SandboxProcess) -> None:
        """Send the payload and the journal so far to a child."""
        waits = bool(process.queue)
        self._process = process
        process.queue.append(self)
        self._body = None
        self._first_byte: int | None = None
        self._step_at_s = 0.0
        """How long the child had been waited for when a plugin began or ended last."""
        inline_bytes = _WAITING_BYTES if waits else _INLINE_BYTES
        files_closed = "seccomp" not in self._sandbox.pool.missing
        message, fds, opened = message_of(
            self._task, self._received.sent, inline_bytes, files_closed=files_closed
        )
        try:
            left_s = self._task.deadline.left_ms / 1000 + _LATE_S
            process.birth.channel.say(wire.TASK, message, fds, min(_SEND_S, left_s))
        except (Closed, Overdue):
            pass  # found out, and told, when its words are waited for
        finally:
            for fd in opened:
                os.close(fd)

    def _at_work(self) -> SandboxProcess:
        """The child whose next words are of this payload; another one, where its own has not come to it.

        That is so if it died before, or if the engine wants this payload while the one before waits for it.
        """
        if self._process is not None and self._process.queue[0] is not self:
            self._sandbox.pool.leave(self._process, self)
            self._process = None
        if self._process is None:
            self._begin(self._sandbox.take(self._task.request))
        assert self._process is not None
        self._hear_from(self._process)
        return self._process

    def _hear_from(self, process: SandboxProcess) -> None:
        """From now on, what the child says is of this payload."""
        if self._first_byte is None:
            self._first_byte = process.birth.channel.received_bytes
            self._step_at_s = self._attended_s(process.birth.channel)

    def _hear(self, process: SandboxProcess) -> None:
        """Take in what is here, or wait for a frame; at the last one the child is free again."""
        channel = process.birth.channel
        frames = channel.held(_WORDS, wire.DONE) or [channel.receive(self._wait_s(channel))[:2]]
        self._heard(frames, process)

    def _heard(self, frames: list[Words], process: SandboxProcess) -> None:
        channel = process.birth.channel
        if channel.received_bytes - (self._first_byte or 0) > _SLACK_BYTES + 2 * self._task.bytes_left:
            raise Flood
        for kind, data in frames:
            if kind == wire.ENTRIES:
                self._take(data, channel)
            elif kind == wire.BODY:
                self._part(data)
            elif kind == wire.TOOL:
                self._run_tool(_TOOL.decode(data), process)
            elif kind == wire.DONE:
                done = _DONE.decode(data)
                self._received.end()
                self._process, self._over = None, True
                self._sandbox.done(process, done)
            else:
                raise Malformed(f"a frame of kind {kind}")

    def _run_tool(self, asked: wire.ToolAsked, process: SandboxProcess) -> None:
        """For the plugin that runs, if it is one that declares the tool."""
        channel, current = process.birth.channel, self._received.current
        facts = self._sandbox.index.of(current) if current else None
        declared, left_ms = facts.tools if facts else {}, self._wait_s(channel) * 1000
        body = self._task.payload.body
        self._sandbox.toolbox.answer(process.zygote, channel, asked, body, declared, left_ms)

    def _take(self, entries: bytes | bytearray, channel: Channel) -> None:
        steps, most = self._received.steps, self._task.limits.result_nodes + _MORE_NODES
        if len(entries) > _UNCOUNTED_BYTES and nodes_of(entries, most) > most:
            raise Flood
        for entry in wire.ENTRIES_SAID.decode(entries):
            body = None
            if type(entry) is wire.ChildMade and entry.content is None:
                writer, self._body = self._body or BodyWriter(), None
                body = writer.finish()
            self._received.take(entry, body)
        if self._received.steps != steps:
            self._step_at_s = self._attended_s(channel)

    def _part(self, data: bytes | bytearray) -> None:
        """Bytes of the child payload that comes next, counted as they come, once one may come."""
        if self._body is None:
            if self._received.current is None or self._received.budget.children_left <= 0:
                raise Malformed("bytes of a child payload that nobody may yield")
            self._body = BodyWriter(self._task.scratch)
        room, _ = self._received.budget.room()
        if self._body.size + len(data) > room:
            raise Flood
        if isinstance(data, bytearray):
            self._body.take(data)
        else:
            self._body.write(data)

    def _wait_s(self, channel: Channel) -> float:
        """How long to wait for the plugin that runs, or the first one, and for no longer than the request."""
        current, most_ms = self._received.current, self._task.limits.worker_wall_ms
        facts = self._sandbox.index.of(current) if current else None
        own_ms = facts.wall_ms if facts and facts.wall_ms else most_ms
        until_s = self._step_at_s + WALL_FACTOR * min(own_ms, most_ms) / 1000 + _GRACE_S
        left_s: float = self._task.deadline.left_ms / 1000 + _LATE_S
        return max(0.0, min(until_s - self._attended_s(channel), left_s))

    # -- a child's end ----------------------------------------------------------------------------

    def _kill_and_reap(self, error: Exception) -> None:
        """Find out what happened, say it under the name of the plugin that ran, and go on if that helps."""
        process, self._process = self._process, None
        assert process is not None
        process.queue.popleft()  # this one
        exited = self._sandbox.pool.kill_and_reap(process, hung_up=isinstance(error, Closed))
        if isinstance(error, Overdue):
            self._last_words(process.birth.channel)
        process.birth.channel.close()
        if self._over:
            return
        current = self._received.current
        self._idle_deaths += current is None
        facts = self._sandbox.index.of(current) if current else None
        code, message = self._cause(error, exited)
        reason = Reason.CRASHED if code == "malformed" else Reason(code)
        essential = facts.essential if facts else True
        self._received.blame(code, reason, message, essential=essential)
        self._deaths += 1
        self._give_up(self._why_not_again())

    def _why_not_again(self) -> tuple[Reason, str] | None:
        """Why no other child goes on, if none does."""
        if self._task.deadline.expired:
            return Reason.DEADLINE, "the request's time ran out"
        if self._sandbox.holdings.full(self._task.request):
            most = self._sandbox.holdings.most_bytes
            return Reason.RESULT_TOO_LARGE, f"what its payloads said takes more than {most} bytes"
        if self._deaths >= _MOST_DEATHS or self._idle_deaths > _MOST_IDLE_DEATHS:
            return Reason.CRASHED, "its process died again and again"
        return None

    def _give_up(self, why: tuple[Reason, str] | None) -> None:
        if why is not None:
            self._over = True
            self._received.blame(why[0].value, *why, essential=True)

    def _last_words(self, channel: Channel) -> None:
        """What a child had sent before it was killed, as far as it can be believed."""
        until = self._clock() + _LAST_WORDS_S
        with suppress(Closed, Overdue, Malformed):
            while (left_s := until - self._clock()) > 0:
                frame = channel.receive(left_s)
                if frame.kind == wire.ENTRIES:
                    self._take(frame.data, channel)
                elif frame.kind == wire.BODY:
                    self._part(frame.data)
                else:
                    self._received.end()
                    self._over = frame.kind == wire.DONE
                    return

    def _cause(self, error: Exception, exited: wire.Exited | None) -> tuple[str, str]:
        if isinstance(error, Overdue):
            if self._task.deadline.expired:
                return "deadline", "the request's time ran out"
            return "timeout", "it did not come to an end in its time and was killed"
        if isinstance(error, Crowd):
            return "memory", f"it began more than {MOST_THREADS} threads and was killed"
        if isinstance(error, ZygoteGone):
            return "crashed", str(error)[:1000]
        if isinstance(error, Flood):
            return "result_too_large", "it sent more than it may"
        if isinstance(error, Malformed):
            return "malformed", f"its process broke the sandbox's protocol and was killed: {error}"[:1000]
        if exited is None:
            return "crashed", "its process hung up, or is gone"
        return ending(exited, self._task.limits.sandbox_bytes)


def heard_before(
    channel: Channel, others: list[SandboxProcess], wait_s: float, clock: Clock = time.monotonic
) -> bool:
    """Wait until a child speaks; true if, before it, one of these others came to a payload's end."""
    until = clock() + wait_s
    by_channel = {one.birth.channel: one for one in others}
    while rung := channel.rung_before([*by_channel], until - clock()):
        if hear_early([by_channel[one] for one in rung]):
            return True
        if clock() > until:
            break
    return False


def hear_early(processes: list[SandboxProcess]) -> bool:
    """Take in what these children have said; true if one of them came to a payload's end."""
    ended = False
    for process in processes:
        for _ in range(QUEUE):  # more is not in its queue
            if not process.queue or not process.queue[0].hear_early():
                break
            ended = True
    return ended
