"""The block of signatures that stands before an APK's directory (Android, *APK Signature Scheme v2*, v3)."""

from __future__ import annotations

from stoq_core.account import Account

from .declare import number

_MAGIC = b"APK Sig Block 42"
_SCHEMES = frozenset({0x7109871A, 0xF05368C0, 0x1B93AD61})
"""v2, v3, v3.1: sequences of signers."""
_MOST_PAIRS = 64
_DEPTH = 3


def claim_apk_signatures(view: memoryview, directory: int, account: Account) -> None:
    """What is understood of it: sizes, ids, and signatures to their last byte; the rest stays unclaimed."""
    size = number(view, directory - 24, 8) if directory >= 32 else 0
    begin = directory - size - 8
    if (
        bytes(view[max(0, directory - 16) : directory]) != _MAGIC
        or begin < 0
        or number(view, begin, 8) != size
    ):
        return
    account.structure(begin, 8)
    account.structure(directory - 24, 24)
    at, end = begin + 8, directory - 24
    for _ in range(_MOST_PAIRS):
        length = number(view, at, 8)
        if at >= end or not 4 <= length <= end - at - 8:
            return
        account.structure(at, 12)
        value, stop = at + 12, at + 8 + length
        if number(view, at + 8, 4) in _SCHEMES and _is_sequence(view, value, stop, _DEPTH):
            account.structure(value, stop - value)
        at = stop


def _is_sequence(view: memoryview, at: int, end: int, depth: int) -> bool:
    """A length and so many bytes of items, each with a length of its own: signers, their data, digests."""
    if number(view, at, 4) != end - at - 4:
        return False
    at += 4
    while depth and at < end:
        stop = at + 4 + number(view, at, 4)
        if stop > end:
            return False
        at = stop
    return at == end or not depth
