"""Whether a Windows executable begins at a place: `MZ` whose header leads to `PE`, and no more."""

from __future__ import annotations

_LFANEW_AT = 0x3C
_MAX_PE_AT = 1 << 20


def is_executable(view: memoryview, at: int = 0) -> bool:
    """True if the DOS header at `at` points (`e_lfanew`) to a PE signature within the bytes.

    Microsoft's PE format, *MS-DOS Stub* and *Signature*.
    """
    if bytes(view[at : at + 2]) != b"MZ":
        return False
    lfanew = int.from_bytes(view[at + _LFANEW_AT : at + _LFANEW_AT + 4], "little")
    start = at + lfanew
    return 4 <= lfanew <= _MAX_PE_AT and bytes(view[start : start + 4]) == b"PE\0\0"
