"""A file that takes longer than its function may, and the settings of a function that has so little time."""

from __future__ import annotations

from handlers.local.samples import zipped

LITTLE_TIME = {
    # a record is not begun with less than 15 seconds left; of these 16, three are for scanning
    "STOQ_LIMITS__REQUEST_WALL_MS": "16000",
    "STOQ_LIMITS__RESERVE_MS": "13000",
    "STOQ_SCAN__ALWAYS": '["hash","mimetype","yara","slow"]',
    "STOQ_SANDBOX__PROCESSES": "1",
}


def slow_zip() -> bytes:
    """Four members of 1,000 to 1,003 bytes, each of which takes the worker `slow` 1.3 seconds."""
    members = {f"m{n}": b"SLOW:1.3:".ljust(1_000 + n, b"%d" % n) for n in range(4)}
    return zipped(**members)
