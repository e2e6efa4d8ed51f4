"""Frames on a Unix stream socket: a kind, bytes, and descriptors; sizes are checked before they are read."""

from __future__ import annotations

import array
import os
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from stoq_core.limits import Clock, MiB

if TYPE_CHECKING:
    from typing_extensions import Buffer

_HEADER = struct.Struct("<IBB")  # bytes that follow, kind, descriptors that came with it
_READ_BYTES = 64 * 1024  # a larger buffer would be mapped and unmapped for each read, which takes 12 µs
_MAX_FDS = 16
_MOST_HELD = 256  # frames taken at once, so that time is looked at between them
_ANCILLARY_BYTES = socket.CMSG_LEN(_MAX_FDS * array.array("i").itemsize)
_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)  # no program that is run inherits what came
_TICK_MS = 100
_TICK = struct.pack("ll", 0, 1_000 * _TICK_MS)  # timeval
_ENCODE_INTO = msgspec.msgpack.Encoder().encode_into
MAX_FRAME_BYTES = 8 * MiB
"""No frame is longer; longer bodies come as several."""


class Closed(Exception):
    """The other side is gone; a child that died shows itself like this."""


class Malformed(Exception):
    """The other side broke the protocol; nothing that it says is believed any more."""


class Flood(Malformed):
    """The other side says more than all limits together allow."""


class Overdue(Exception):
    """Nothing came in time."""


class Frame(NamedTuple):
    """One message; whoever takes it owns the descriptors."""

    kind: int
    data: bytes | bytearray
    fds: tuple[int, ...] = ()


Words = tuple[int, bytes | bytearray]
"""A frame's kind and bytes, where no descriptors come."""


def framed(kind: int, message: Any, buffer: bytearray) -> None:
    """Add a frame with this message to `buffer`, without a copy."""
    begin = len(buffer) + _HEADER.size
    _ENCODE_INTO(message, buffer, begin)
    _HEADER.pack_into(buffer, begin - _HEADER.size, len(buffer) - begin, kind, 0)


class Bell:
    """The reading end of a pipe. The other side rings once it has said something that is worth waking for.

    To wake a process takes five times as long as to write for one that reads later.
    """

    def __init__(self, fd: int) -> None:
        """Own `fd`."""
        self.fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    def wait(self) -> bool:
        """Until it rings, or for a tick; false once nobody can ring it any more."""
        return not self._poll.poll(_TICK_MS) or self.heard()

    def heard(self) -> bool:
        """It rang, or nobody can ring it any more, and then it is false."""
        return bool(os.read(self.fd, 4_096))

    def close(self) -> None:
        """Close it."""
        os.close(self.fd)


class Channel:
    """One end of a socket. `takes_fds` is false where the other side is not trusted: then none arrive."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        takes_fds: bool,
        bell: int | None = None,
        most: Mapping[int, int] | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        """Own `sock` from now on; it blocks for a tick at most, so that time is looked at now and then.

        `most` are the bytes of a frame by its kind, where no other kinds are taken.

        With `bell`, a pipe's reading end to own, what was sent is looked at when it rings, or at a tick.
        Whoever rings for the other side sets `stalled`, which is called before it is waited for room.
        """
        self.sock = sock
        self._bell = None if bell is None else Bell(bell)
        self.stalled: Callable[[], None] | None = None
        self.watched: Callable[[], None] | None = None
        """Called at each tick that the other side is waited for."""
        sock.settimeout(None)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            sock.setsockopt(socket.SOL_SOCKET, option, _TICK)
        self._takes_fds = takes_fds
        self._most = most
        self._clock = clock
        self._buffer = b""
        self._at = 0
        self._fds: deque[int] = deque()
        self.received_bytes = 0
        self.attended_s = 0.0
        """How long somebody has waited for and listened to the other side, who adds to it."""

    def send(
        self, kind: int, data: Buffer = b"", fds: tuple[int, ...] = (), wait_s: float | None = None
    ) -> None:
        """Write one frame; raises `Closed`, or `Overdue` if the other side does not take it in time."""
        view = memoryview(data).cast("B")
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self._write([_HEADER.pack(len(view), kind, len(fds)), view], ancillary, wait_s)

    def say(self, kind: int, message: Any, fds: tuple[int, ...] = (), wait_s: float | None = None) -> None:
        """Write one frame with this message; raises as `send` does."""
        buffer = bytearray()
        framed(kind, message, buffer)
        if fds:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
            buffer[_HEADER.size - 1] = len(fds)
            self._write([buffer], ancillary, wait_s)
        else:
            self.post(buffer, wait_s)

    def post(self, buffer: bytearray, wait_s: float | None = None) -> None:
        """Write whole frames, as `framed` made them, at once; raises as `send` does."""
        try:
            sent = self.sock.send(buffer, socket.MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise Closed(str(error)) from None
        if sent < len(buffer):
            self._write([memoryview(buffer)[sent:]], (), wait_s)

    def _write(self, parts: list[Any], ancillary: Sequence[Any] = (), wait_s: float | None = None) -> None:
        until = None if wait_s is None else self._clock() + wait_s
        flags = socket.MSG_DONTWAIT if self.stalled else 0
        while parts:
            try:
                sent = self.sock.sendmsg(parts, ancillary, flags)
            except BlockingIOError:
                self._check_time(until)
                self._wait_for_room()
                continue
            except OSError as error:
                raise Closed(str(error)) from None
            ancillary = ()
            while parts and sent >= len(parts[0]):
                sent -= len(parts.pop(0))
            if parts:
                parts[0] = memoryview(parts[0])[sent:]
                self._check_time(until)
                self._wait_for_room()

    def _wait_for_room(self) -> None:
        """For a tick at most; without `stalled` the next write waits itself."""
        if self.stalled is not None:
            self.stalled()
            poll = select.poll()
            poll.register(self.sock, select.POLLOUT)
            poll.poll(_TICK_MS)

    def receive(self, wait_s: float | None = None, most: int = MAX_FRAME_BYTES) -> Frame:
        """The next frame. Raises `Overdue`, `Closed`, or `Malformed` for one of more than `most` bytes.

        Time is looked at after each read, however little came.
        """
        until = None if wait_s is None else self._clock() + wait_s
        if len(self._buffer) - self._at < _HEADER.size:
            self._fill(_HEADER.size, until)
        size, kind, fds = _HEADER.unpack_from(self._buffer, self._at)
        if self._most is not None:
            if kind not in self._most:
                message = f"a frame of kind {kind}"
                raise Malformed(message)
            most = self._most[kind]
        if size > most or fds > (_MAX_FDS if self._takes_fds else 0):
            message = f"a frame of {size} bytes with {fds} descriptors"
            raise Malformed(message)
        if size > _READ_BYTES:
            data: bytes | bytearray = self._large(size, until)
        else:
            if len(self._buffer) - self._at < _HEADER.size + size:
                self._fill(_HEADER.size + size, until)
            begin = self._at + _HEADER.size
            self._at = begin + size
            data = self._buffer[begin : self._at]
        if fds > len(self._fds):
            raise Malformed("a frame lacks its descriptors")
        return Frame(kind, data, tuple(self._fds.popleft() for _ in range(fds)) if fds else ())

    def held(self, kinds: frozenset[int], last: int, most: int = _READ_BYTES) -> list[Words]:
        """Whole frames that are here: of these kinds, up to one of kind `last`, with `most` bytes in all.

        Waits for nothing, whatever the other side does; every other frame is left to `receive`.
        """
        found: list[Words] = []
        buffer, at = self._buffer, self._at
        while len(buffer) - at >= _HEADER.size:
            size, kind, fds = _HEADER.unpack_from(buffer, at)
            if len(found) >= _MOST_HELD:
                break
            end = at + _HEADER.size + size
            if end > len(buffer) or size > most or fds or kind not in kinds:
                break
            found.append((kind, buffer[at + _HEADER.size : end]))
            at, most = end, most - size
            if kind == last:
                break
        self._at = at
        return found

    def pull(self) -> bool:
        """Take what one read gets into the buffer, unless a frame is held that `held` left; never waits.

        False if there is nothing. Only for a side that takes no descriptors. Raises `Closed`.
        """
        return len(self._buffer) - self._at < _READ_BYTES and self._pull()

    def _pull(self) -> bool:
        """Take what is here into the buffer; false if there is nothing. Only where no descriptors come."""
        try:
            chunk = self.sock.recv(_READ_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError as error:
            raise Closed(str(error)) from None
        if not chunk:
            raise Closed("the other side is gone")
        self._buffer = self._buffer[self._at :] + chunk
        self._at = 0
        self.received_bytes += len(chunk)
        return True

    def rung_before(self, others: list[Channel], wait_s: float) -> list[Channel]:
        """Wait until something comes from here, for `wait_s` at the most; or which others rang before.

        Raises `Closed`.
        """
        until = self._clock() + wait_s
        while not self.pending and not self._pull():
            began = self._clock()
            poll = select.poll()
            bells = {one.listen(poll): one for one in (self, *others)}
            rung = [bells[fd] for fd, _ in poll.poll(min(_TICK_MS, max(0, (until - began) * 1000)))]
            for one in [self] if self in rung else rung:
                one.hush()
            if rung and self not in rung:
                return rung
            if self.watched is not None:
                self.watched()
            if began > until:
                break
        return []

    def listen(self, poll: select.poll) -> int:
        """Register the bell; its descriptor, or -1 where there is none any more."""
        if self._bell is None:
            return -1
        poll.register(self._bell.fd, select.POLLIN)
        return self._bell.fd

    def hush(self) -> None:
        """The bell was heard."""
        if self._bell is not None and not self._bell.heard():
            self._end_bell()

    def _fill(self, size: int, until: float | None) -> None:
        while len(self._buffer) - self._at < size:
            chunk = self._read(_READ_BYTES, until)
            if not chunk:
                raise Closed("the other side is gone")
            self._buffer = self._buffer[self._at :] + chunk if self.pending else chunk
            self._at = 0
            if len(self._buffer) < size:
                self._check_time(until)

    def _check_time(self, until: float | None) -> None:
        if until is not None and self._clock() >= until:
            raise Overdue

    def _large(self, size: int, until: float | None) -> bytearray:
        """The content of a frame whose header has come, read to where it stays."""
        begin = self._at + _HEADER.size
        held = self._buffer[begin : begin + size]
        data = bytearray(size)
        data[: len(held)] = held
        filled = len(held)
        with memoryview(data) as view:
            while filled < size:
                read = self._read(view[filled:], until)
                if not read:
                    raise Closed("the other side is gone")
                filled += read
                if filled < size:
                    self._check_time(until)
        self._at = begin + len(held)
        return data

    def _read(self, into: Any, until: float | None) -> Any:
        """Up to `into` bytes, or how many were read into that buffer."""
        try:
            while True:
                try:
                    read = self._read_once(into)
                except BlockingIOError:
                    self._check_time(until)
                    if self.watched is not None:
                        self.watched()
                    if self._bell is not None and not self.pending and not self._bell.wait():
                        self._end_bell()
                    continue
                self.received_bytes += read if isinstance(read, int) else len(read)
                return read
        except OSError as error:
            raise Closed(str(error)) from None

    def _read_once(self, into: Any) -> Any:
        if not self._takes_fds:
            begun = self._bell is None or self.pending  # the rest of a frame that has begun comes at once
            flags = 0 if begun else socket.MSG_DONTWAIT
            if isinstance(into, int):
                return self.sock.recv(into, flags)
            return self.sock.recv_into(into, 0, flags)
        if isinstance(into, int):
            chunk, fds, flags, _ = socket.recv_fds(self.sock, into, _MAX_FDS, _CLOSE_ON_EXEC)
            self._fds.extend(fds)
            read: bytes | int = chunk
        else:
            read, ancillary, flags, _ = self.sock.recvmsg_into([into], _ANCILLARY_BYTES, _CLOSE_ON_EXEC)
            for _level, _kind, data in ancillary:
                self._fds.extend(array.array("i", data))
        if flags & socket.MSG_CTRUNC:
            raise Malformed("descriptors were lost")
        return read

    @property
    def hung_up(self) -> bool:
        """True if the other side is gone; asks, and waits for nothing."""
        if self.pending:
            return False
        try:
            return not self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    @property
    def readable(self) -> bool:
        """True if there is something to receive, if only the other side's end; waits for nothing."""
        if self.pending:
            return True
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(0))

    @property
    def pending(self) -> bool:
        """True if bytes were received that no frame has used yet."""
        return self._at < len(self._buffer)

    def close(self) -> None:
        """Close the socket and whatever descriptors nobody took."""
        self.sock.close()
        self._end_bell()
        while self._fds:
            os.close(self._fds.popleft())

    def _end_bell(self) -> None:
        bell, self._bell = self._bell, None
        if bell is not None:
            bell.close()
