"""Whether bytes are as dense as packed, encrypted or random ones, which cannot be searched as they stand."""

from __future__ import annotations

from collections import Counter
from math import log2

MIN_BYTES = 64
"""Below, even text can be as dense as chance."""
_BLOCK_BYTES = 2_048
_SAMPLE_BYTES = 256
_SAMPLE_DISTINCT = 100
# bytes → entropy in bits a byte of so many random ones (means of 400 each)
_RANDOM = (
    (64, 5.765), (96, 6.240), (128, 6.549), (192, 6.941), (256, 7.173), (384, 7.441), (512, 7.590),
    (1024, 7.810), (2048, 7.908), (4096, 7.955),
)  # fmt: skip
_SHORT_BYTES = 1_024
# Of 19 in 20 pieces of deflate, LZMA and bzip2 data the entropy lies less than that below chance's; of
# 8,127 clean files of no known type (libraries, packages, wheels) it does in those alone that are packed.
_MARGIN_TINY, _MARGIN_SHORT, _MARGIN = 0.27, 0.15, 0.12


def is_dense(view: memoryview) -> bool:
    """True if any block of 2 KiB (or all of less) is; linear, and at once where the first one is."""
    size = len(view)
    if size < MIN_BYTES:
        return False
    for offset in range(0, max(1, size - _BLOCK_BYTES // 2), _BLOCK_BYTES):
        block = bytes(view[offset : offset + _BLOCK_BYTES])
        if _looks_dense(block) and _entropy(block) > _bound(len(block)):
            return True
    return False


def _looks_dense(block: bytes) -> bool:
    """A first look that is thirty times cheaper than counting."""
    return len(block) < 2 * _SAMPLE_BYTES or len(set(block[:_SAMPLE_BYTES])) >= _SAMPLE_DISTINCT


def _entropy(block: bytes) -> float:
    """Bits a byte, 0 to 8."""
    size = len(block)
    return log2(size) - sum(count * log2(count) for count in Counter(block).values()) / size


def _bound(size: int) -> float:
    """What random bytes of that number have, by the table and between its rows, less the margin."""
    low, high = _RANDOM[0], _RANDOM[-1]
    for row in _RANDOM:
        if row[0] <= size:
            low = row
        else:
            high = row
            break
    share = (log2(size) - log2(low[0])) / (log2(high[0]) - log2(low[0])) if size < high[0] else 0.0
    expected = low[1] + share * (high[1] - low[1])
    return expected - (_MARGIN if size >= _SHORT_BYTES else _MARGIN_SHORT if size >= 256 else _MARGIN_TINY)
