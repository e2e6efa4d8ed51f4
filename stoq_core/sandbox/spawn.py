"""Start the zygote's process: ahead of time, while the broker still imports, or when it is wanted.

An entry point that starts it ahead imports this module first, so it brings next to nothing itself.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import suppress

_BEGIN = """
import gc, sys
gc.disable()
sys.path[:0] = sys.argv[1:]
sys.modules["typing_extensions"] = None  # msgspec asks for it, needs nothing of it, and it takes 6 ms
import msgspec
del sys.modules["typing_extensions"]
from stoq_core.sandbox.zygote import main
main(3)
"""
_KEPT_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Where a runtime's own interpreter finds its libraries; the rest of the environment stays here."""


class Spawned:
    """A zygote's process that waits for its first message on the other end of `sock`."""

    __slots__ = ("owner", "pid", "sock", "words")

    def __init__(self, pid: int, sock: socket.socket, words: list[str]) -> None:
        """`words` are how it was started."""
        self.pid = pid
        self.sock = sock
        self.words = words
        self.owner = os.getpid()


_ahead: list[Spawned] = []


def ahead() -> None:
    """Start one now for the `take` that comes later; if it cannot be, `take` says why."""
    if not _ahead:
        with suppress(OSError):
            _ahead.append(_spawn(_words(sys.executable)))


def take(python: str) -> Spawned:
    """The one that was started ahead, if it is this process's and was started alike, or a new one.

    Raises `OSError`.
    """
    words = _words(python)
    waiting = _ahead.pop() if _ahead else None
    if waiting is None:
        return _spawn(words)
    if waiting.owner == os.getpid() and waiting.words == words:
        return waiting
    end(waiting)
    return _spawn(words)


def drop() -> None:
    """End the one that was started ahead: there will be no sandbox."""
    while _ahead:
        end(_ahead.pop())


def end(one: Spawned) -> None:
    """End it and all its children; in a process that was forked from its owner only this end is closed."""
    one.sock.close()
    if one.owner != os.getpid():
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(one.pid, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.kill(one.pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(one.pid, 0)


def _words(python: str) -> list[str]:
    paths = [os.path.abspath(one) for one in sys.path if one and os.path.exists(one)]
    return [python, "-I", "-S", "-X", "utf8", "-c", _BEGIN, *paths]


def _spawn(words: list[str]) -> Spawned:
    """Run the zygote with an empty environment and one descriptor, 3."""
    mine, its = socket.socketpair()
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    with its:
        try:
            pid = os.posix_spawn(words[0], words, kept, file_actions=[(os.POSIX_SPAWN_DUP2, its.fileno(), 3)])
        except OSError:
            mine.close()
            raise
    return Spawned(pid, mine, words)
