"""Does what an exploited parser would do; which, is said by the payload: `DO name argument`."""

from __future__ import annotations

import collections
import contextlib
import ctypes
import hashlib
import itertools
import mmap
import os
import random
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


def said(kind: int, message: bytes) -> None:
    """One frame."""
    write(struct.pack("<IBB", len(message), kind, 0) + message)


def deaf() -> None:
    """No timer of this process's own ends it any more."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.setitimer(signal.ITIMER_PROF, 0)


def drip_bytes(_: str) -> None:
    """A frame of a megabyte, a byte at a time."""
    deaf()
    write(struct.pack("<IBB", 1 << 20, 2, 0))
    while True:
        write(b"#")
        time.sleep(0.02)


def drip_frames(_: str) -> None:
    """Frames that say nothing, now and then."""
    deaf()
    while True:
        said(1, b"\x90")
        os.write(SOCKET + 1, b"!")
        time.sleep(0.02)


def empty_frames(_: str) -> None:
    """The same as fast as it goes."""
    deaf()
    packed = (struct.pack("<IBB", 1, 1, 0) + b"\x90") * 1_000
    while True:
        write(packed)


def one_bytes(_: str) -> None:
    """A child payload in parts of one byte."""
    deaf()
    packed = (struct.pack("<IBB", 1, 2, 0) + b"#") * 1_000
    while True:
        write(packed)


def ring(_: str) -> None:
    """The bell alone, without end."""
    deaf()
    while True:
        with contextlib.suppress(BlockingIOError):
            os.write(SOCKET + 1, b"!" * 4_096)


def result(values: bytes, key: int = 0) -> bytes:
    """An entry with these values, as `hostile`'s result."""
    return b"\x93\xa1r\xa7hostile\x81\xa6k%05d" % key + values


def listed(count: int, value: bytes) -> bytes:
    """So many of a value, in a list."""
    return b"\xdd" + struct.pack(">I", count) + value * count


def empty_maps(_: str) -> None:
    """Two million mappings, which take 64 bytes each and are one byte here."""
    said(1, b"\x91" + result(listed((2 << 20) - 100, b"\x80")))
    time.sleep(600)


def eight_megabytes(_: str) -> None:
    """The same in a frame of eight."""
    said(1, b"\x91" + result(listed(8 << 20, b"\x80")))
    time.sleep(600)


def small_maps(_: str) -> None:
    """As many as go into frames that nobody counts, one behind the other."""
    for n in range(10_000):
        said(1, b"\x91" + result(listed(60_000, b"\x80"), n))


def deep(_: str) -> None:
    """A million lists in one another."""
    said(1, b"\x91" + result(b"\x91" * 1_000_000 + b"\xc0"))
    time.sleep(600)


def long_claims(_: str) -> None:
    """Four billion elements, it says."""
    said(1, b"\x91" + result(b"\xdd\xff\xff\xff\xff"))
    time.sleep(600)


def findings(_: str) -> None:
    """As many findings as there may be, all of them long."""
    part = b"\x96\xa1n\xa7hostile\xda\x0f\xa0" + b"n" * 4_000 + b"\x01\xa0\x90"
    for _at in range(30_000):
        said(1, b"\x91" + part)


def errors(_: str) -> None:
    """As many errors, all of them long."""
    part = b"\x97\xa1e\xa7hostile\xa1c\xda\x0f\xa0" + b"m" * 4_000 + b"\xc2\xc0\xc0"
    for _at in range(30_000):
        said(1, b"\x91" + part)


def child_metas(_: str) -> None:
    """Child payloads of a byte with large meta."""
    value = listed(900, b"\xa0")
    for n in range(4_900):
        name = b"%05d" % n
        said(1, b"\x91\x99\xa1c\xa7hostile\xc4\x05" + name + b"\x05\xc3\xc3\x90\x81\xa1k" + value + b"\xc0")


def unasked_body(_: str) -> None:
    """A child payload's bytes, for ever, and no child."""
    deaf()
    packed = struct.pack("<IBB", 1 << 20, 2, 0) + bytes(1 << 20)
    while True:
        write(packed)


def crowd(_: str) -> None:
    """Threads without end, each with a small stack, that do nothing."""
    import threading

    deaf()
    threading.stack_size(32 * 1024)
    stay = threading.Event()
    while True:
        try:
            threading.Thread(target=stay.wait, daemon=True).start()
        except RuntimeError:
            time.sleep(600)


def signals(_: str) -> str:
    """Have the kernel signal others when a shared file changes, or break their leases."""
    import fcntl

    one = struct.pack("i", 1)
    return refused(
        lambda: fcntl.ioctl(SOCKET, 0x5452, one),  # FIOASYNC
        lambda: fcntl.ioctl(SOCKET, 0x8901, struct.pack("i", os.getppid())),  # FIOSETOWN
        lambda: fcntl.ioctl(SOCKET, 0x8902, struct.pack("i", os.getppid())),  # SIOCSPGRP
        lambda: fcntl.ioctl(0, 0x5412, b"x"),  # TIOCSTI
        lambda: fcntl.fcntl(SOCKET, fcntl.F_SETOWN, os.getppid()),
        lambda: fcntl.fcntl(SOCKET, 10, 9),  # F_SETSIG
        lambda: fcntl.fcntl(SOCKET, fcntl.F_SETFL, 0x2000),  # O_ASYNC
        lambda: fcntl.fcntl(0, 1024, 0),  # F_SETLEASE
        lambda: fcntl.fcntl(0, 1026, 1),  # F_NOTIFY
    )


def probe(paths: str) -> str:
    """Descriptors of files that are none of a parser's business, though they read nothing."""
    return refused(*(lambda at=at: os.open(at, os.O_PATH) for at in paths.split(":")))


def some_value(dice: random.Random, depth: int = 0) -> Any:
    """Whatever msgpack can say."""
    small = [
        0, -1, 2**31, -(2**63), 2**64 - 1, 0.0, float("nan"), float("inf"), -1e308, None, True, b"", b"x" * 9,
        "", "hostile", "hash", "later", "engine", "dispatcher:yara#0", "\x00", "\u202e", "x" * 5_000, "clean",
    ]  # fmt: skip
    pick = dice.random()
    if depth > 3 or pick < 0.7:
        return dice.choice(small)
    if pick < 0.85:
        return [some_value(dice, depth + 1) for _ in range(dice.randrange(5))]
    names = ["", "a", "filename", "x" * 300]
    return {dice.choice(names): some_value(dice, depth + 1) for _ in range(dice.randrange(4))}


def maimed(dice: random.Random, words: list[Any]) -> list[Any]:
    """A message with other values in it, or cut short."""
    for _ in range(dice.randrange(3)):
        words[dice.randrange(len(words))] = some_value(dice)
    return words if dice.random() < 0.9 else words[: dice.randrange(len(words) + 1)]


def fuzz(seed: str) -> None:
    """Frames of true and false words, in any order, with any values, mended and maimed."""
    import msgspec

    deaf()
    dice = random.Random(int(seed))
    encode = msgspec.msgpack.encode

    me = "hostile"
    entries: list[Callable[[], list[Any]]] = [
        lambda: ["b", [dice.choice(["hash", me, "later", "no"])]],
        lambda: ["s", dice.choice([me, "hash", "later"])],
        lambda: ["f", me, dice.choice([1.0, -1.0, float("nan")]), False],
        lambda: ["r", me, {"k" * dice.randrange(9): some_value(dice)}],
        lambda: ["c", me, b"child", 5, True, True, [], {"filename": "x"}, None],
        lambda: ["c", me, None, 70_000, True, True, ["later"], {"filename": some_value(dice)}, "corrupt"],
        lambda: ["w", me, "later", {"a": some_value(dice)}],
        lambda: ["n", me, "found", 300, "detail", ["T1059"]],
        lambda: ["h", me, "password"],
        lambda: ["k", me, True],
        lambda: ["u", me, "corrupt", "message"],
        lambda: ["e", me, "code", "message", False, None, 1],
        lambda: ["v", me, 1, 0, 0, 0, 0, 0],
    ]
    for _ in range(dice.randrange(1, 12)):
        kind = dice.choice([1, 1, 1, 1, 2, 3, 4, 5, dice.randrange(256)])
        if kind == 1:
            data = encode([maimed(dice, dice.choice(entries)()) for _ in range(dice.randrange(4))])
        elif kind == 3:
            call = ["script", "run", {"a": "b"}, dice.choice([-1, 5, 2**30]), 1_000, dice.choice([1.0, 1e9])]
            data = encode(maimed(dice, call))
        else:
            data = dice.choice(
                [encode(some_value(dice)), dice.randbytes(dice.randrange(40)), bytes(dice.randrange(70_000))]
            )
        if dice.random() < 0.1:
            data = bytearray(data or b"x")
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        size = len(data) if dice.random() < 0.95 else dice.randrange(1 << 32)
        write(struct.pack("<IBB", size, kind, dice.choice([0] * 30 + [1, 255])) + data)
        if dice.random() < 0.5:
            os.write(SOCKET + 1, b"!")
    os._exit(dice.randrange(3))


def words_of_others(_: str) -> None:
    """The words of the protocol of others: a tool's, a start's, the zygote's."""
    said(17, b"\x93\x01\x00\x00")
    time.sleep(600)


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
