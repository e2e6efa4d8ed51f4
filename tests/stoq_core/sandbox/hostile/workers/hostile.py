"""Does what an exploited parser would do; which, is said by the payload: `DO name argument`."""

from __future__ import annotations

import collections
import contextlib
import ctypes
import hashlib
import itertools
import mmap
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

from stoq_core.job import Job
from stoq_core.options import Options
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

Attack = Callable[[str], Any]
SOCKET = 3


def refused(*attempts: Callable[[], Any]) -> str:
    """What the system answered to each attempt; `done` is what nobody wants to read."""
    answers = []
    for attempt in attempts:
        try:
            attempt()
        except OSError as error:
            answers.append(type(error).__name__ if error.errno is None else os.strerror(error.errno))
        else:
            answers.append("done")
    return ", ".join(answers)


def crash(_: str) -> None:
    """Dereference NULL."""
    ctypes.string_at(0)


def allocate(_: str) -> None:
    """8 GB at once."""
    bytearray(8 << 30)


def hoard(_: str) -> None:
    """8 GB piece by piece, outside of Python's knowledge."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    while True:
        where = libc.malloc(ctypes.c_size_t(1 << 20))
        ctypes.memset(where, 1, 400_000)  # enough to be seen, little enough for a busy machine


def loop_python(_: str) -> None:
    """For ever, in Python."""
    while True:
        pass


def loop_c(_: str) -> None:
    """For ever, in C, with the interpreter's lock."""
    collections.deque(itertools.count(), maxlen=0)


def loop_unlocked(_: str) -> None:
    """For longer than anybody waits, in C, without the lock."""
    hashlib.pbkdf2_hmac("sha256", b"", b"", (1 << 31) - 1)


def sleep_deaf(_: str) -> None:
    """Sleep, with every signal blocked."""
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    time.sleep(600)


def disarm_and_loop(_: str) -> None:
    """Switch the timers off, then loop."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.setitimer(signal.ITIMER_PROF, 0)
    while True:
        pass


def fork_bomb(_: str) -> str:
    """As many processes as there can be."""
    return refused(*[os.fork] * 3, lambda: os.posix_spawn("/bin/true", ["true"], {}))


def fill_disk(where: str) -> str:
    """Write wherever somebody let us."""
    places = ["/tmp", "/var/tmp", "/dev/shm", ".", where]
    return refused(
        *(lambda at=at: open(f"{at}/filler", "wb").write(bytes(1 << 20)) for at in places),
        lambda: os.memfd_create("filler"),
    )


def network(port: str) -> str:
    """TCP, UDP and Unix sockets."""
    return refused(
        lambda: socket.create_connection(("127.0.0.1", int(port)), 1),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        lambda: socket.socket(socket.AF_UNIX),
        socket.socketpair,
    )


def read(paths: str) -> str:
    """Files that are none of a parser's business."""
    return refused(*(lambda at=at: open(at, "rb").read(1) for at in paths.split(":")))


def trace(pid: str) -> str:
    """Attach to another process, read its memory, signal it."""
    libc = ctypes.CDLL(None, use_errno=True)

    def attach() -> None:
        if libc.ptrace(16, int(pid), 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "")

    def peek() -> None:
        if libc.process_vm_readv(int(pid), None, 0, None, 0, 0) < 0:
            raise OSError(ctypes.get_errno(), "")

    return refused(attach, peek, lambda: os.kill(int(pid), 9), lambda: os.kill(os.getppid(), 9))


def execute(_: str) -> str:
    """A shell."""
    return refused(
        lambda: os.execv("/bin/sh", ["sh", "-c", "true"]),
        lambda: subprocess.run(["/bin/sh", "-c", "true"], check=True),
    )


def write(data: bytes) -> None:
    """All of it: a socket that has no room takes a part."""
    left = memoryview(data)
    while left:
        with contextlib.suppress(BlockingIOError):
            left = left[os.write(SOCKET, left) :]


def flood(_: str) -> None:
    """2 GB of results, past everything that counts them on this side."""
    part = struct.pack("<IBB", 1 << 20, 2, 0) + bytes(1 << 20)
    for _at in range(2_048):
        write(part)


HINT = b"\x93\xa1h\xa7hostile\xda\x0f\xff" + b"p" * 4_095


def hint_flood(_: str) -> None:
    """The same as small, valid entries."""
    frame = b"\xdc\x01\x00" + HINT * 256
    packed = struct.pack("<IBB", len(frame), 1, 0) + frame
    while True:
        write(packed)


def drip(_: str) -> None:
    """The same in small frames, an entry each, and the broker is woken for it."""
    frame = b"\x91" + HINT
    packed = struct.pack("<IBB", len(frame), 1, 0) + frame
    while True:
        write(packed)
        with contextlib.suppress(BlockingIOError):
            os.write(SOCKET + 1, b"!")


def garbage(text: str) -> None:
    """Bytes that are no frame, then nothing more."""
    write(bytes.fromhex(text))
    time.sleep(600)


def forge(_: str) -> None:
    """Speak as another worker."""
    entry = b"\x91\x93\xa1r\xa4hash\x81\xa6sha256\xa4fake"
    write(struct.pack("<IBB", len(entry), 1, 0) + entry)
    time.sleep(600)


def hang_up(_: str) -> None:
    """Close the socket and live on."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    os.close(SOCKET)
    time.sleep(600)


def linger(_: str) -> str:
    """Behave well, but never leave."""
    import threading

    def stay() -> None:
        while True:
            sum(range(10_000))

    threading.Thread(target=stay).start()
    return "here"


def leave(code: str) -> None:
    """Exit as if all were well."""
    os._exit(int(code))


def abort(_: str) -> None:
    """As C libraries do."""
    os.abort()


ATTACKS = {
    name: value for name, value in list(globals().items()) if callable(value) and value.__module__ == __name__
}


def rewrite(payload: Payload) -> str:
    """Change the payload that was handed over, by every way to its bytes."""
    fd = payload.body.fd
    if fd is None:
        return "no descriptor"

    def reopen() -> None:
        os.close(os.open(f"/proc/self/fd/{fd}", os.O_RDWR))

    return refused(
        lambda: os.pwrite(fd, b"changed", 0),
        lambda: os.ftruncate(fd, 0),
        lambda: os.ftruncate(fd, 1 << 30),
        lambda: mmap.mmap(fd, 4_096, access=mmap.ACCESS_WRITE),
        reopen,
    )


class Hostile(Worker[Options]):
    """Yields what it tried and what came of it."""

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """First a result, so that it can be seen to survive; then the attack."""
        words = payload.head(4_096).split(b"\n")[0].decode("utf-8", "replace").split(" ", 2)
        if words[0] != "DO":
            return
        yield {"before": words[1]}
        yield job.child([b"child of " + words[1].encode()], name="early")
        argument = words[2] if len(words) > 2 else ""
        if words[1] == "breed":
            for n in range(int(argument)):
                yield job.child([b"%d" % n, bytes(40_000)])
            return
        answer = rewrite(payload) if words[1] == "rewrite" else ATTACKS[words[1]](argument)
        yield {"answer": answer}
