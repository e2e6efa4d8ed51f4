"""How a child's process ended, as an error code and in words."""

from __future__ import annotations

import os
import signal

from . import messages as wire


def ending(exited: wire.Exited, sandbox_bytes: int) -> tuple[str, str]:
    """Code and message; `sandbox_bytes` is what it was allowed to have."""
    if not os.WIFSIGNALED(exited.status):
        return "crashed", f"its process ended with exit code {os.waitstatus_to_exitcode(exited.status)}"
    number = os.WTERMSIG(exited.status)
    if number in (signal.SIGPROF, signal.SIGXCPU, signal.SIGALRM):
        return "timeout", "it did not come to an end in its time and was killed"
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if number == signal.SIGKILL or exited.resident_bytes > sandbox_bytes // 2:
        return "memory", f"its process had {exited.resident_bytes >> 20} MiB and was ended by {name}"
    return "crashed", f"its process was ended by {name}"
