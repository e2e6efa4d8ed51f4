"""Tell records of the old Equation Editor that overflow its buffers from equations (MTEF 3).

The editor copies a font's name into 40 bytes of stack (CVE-2017-11882, CVE-2018-0802) and a matrix's
partitions into eight (CVE-2018-0798), and believes their sizes.
"""

from __future__ import annotations

import re

CLSID = bytes.fromhex("02ce020000000000c000000000000046")
_HEADER = re.compile(rb"\x1c\0(?:\0\0\x02\0|.{4})", re.DOTALL)
_OLE_HEADER_BYTES, _MTEF_HEADER_BYTES = 28, 5
_LONG_NAME = re.compile(rb"\x08[\0-\xff]{2}[^\0]{41}", re.DOTALL)
_FIRST_RECORDS = re.compile(rb"[\x0a-\x0e]*(?:[\x01\x11\x21\x31\x41\x51\x61\x71].{0,4}?){0,4}", re.DOTALL)
_MATRIX = re.compile(rb"\x05[\0-\xff]{3}([\0-\xff])([\0-\xff])", re.DOTALL)
_MOST_ROWS = 31
_LOOKED_AT = 64 * 1024


def overflow(data: bytes) -> str:
    """Which record of an `Equation Native` stream is overlong, or nothing."""
    at = _OLE_HEADER_BYTES if _HEADER.match(data) else 0
    mtef = data[at : at + _LOOKED_AT]
    if len(mtef) <= _MTEF_HEADER_BYTES or mtef[0] not in (1, 2, 3):
        return ""
    records = mtef[_MTEF_HEADER_BYTES:]
    if _LONG_NAME.search(records):
        return "a font's name of more than 40 bytes"
    first = _FIRST_RECORDS.match(records)
    matrix = _MATRIX.match(records, first.end() if first else 0)
    if matrix and max(matrix[1][0], matrix[2][0]) > _MOST_ROWS:
        return f"a matrix of {matrix[1][0]} by {matrix[2][0]}"
    return ""
