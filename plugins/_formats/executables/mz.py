"""Whether a Windows executable begins at a place: `MZ` whose header leads to `PE`, and no more."""

from __future__ import annotations

_LFANEW_AT = 0x3C
_MAX_PE_AT = 1 << 20
_HEADER_BYTES = 28


def is_executable(view: memoryview, at: int = 0) -> bool:
    """True if the DOS header at `at` points (`e_lfanew`) to a PE signature within the bytes.

    Microsoft's PE format, *MS-DOS Stub* and *Signature*.
    """
    if bytes(view[at : at + 2]) != b"MZ":
        return False
    lfanew = int.from_bytes(view[at + _LFANEW_AT : at + _LFANEW_AT + 4], "little")
    start = at + lfanew
    return 4 <= lfanew <= _MAX_PE_AT and bytes(view[start : start + 4]) == b"PE\0\0"


def end_of_dos(view: memoryview) -> int:
    """Where a DOS program's image ends by its header (pages of 512 bytes, bytes of the last).

    All there is for programs of later systems that only begin with one: theirs is told elsewhere.
    """
    last, pages = (int.from_bytes(view[at : at + 2], "little") for at in (2, 4))
    lfanew = int.from_bytes(view[_LFANEW_AT : _LFANEW_AT + 4], "little")
    size = pages * 512 - (512 - last if 0 < last <= 512 else 0)
    newer = bytes(view[lfanew : lfanew + 2]) in (b"NE", b"LE", b"LX", b"W3", b"W4", b"PE")
    return len(view) if newer or size < _HEADER_BYTES else min(size, len(view))
