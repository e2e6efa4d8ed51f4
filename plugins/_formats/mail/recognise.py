"""Tell whether bytes are a mail, and where its headers begin: behind marks, blanks, counts or junk lines."""

from __future__ import annotations

import re
from typing import NamedTuple

from plugins._formats.mail.fields import STRONG, key_of, known, name_of, read_block, role_of

_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n\0\x0b\x0c"
_LEAD_LINES, _JUNK_BYTES = 30, 4 * 1024
_FROM_BYTES = 8 * 1024
_COUNT = re.compile(rb"[ \t]*(\d{1,12})[ \t]*(?:\r{0,3}\n|\r)")
_FROM_LINE = re.compile(rb">?From [^\r\n]{0,1000}(?:\r{0,3}\n|\r)")
_LINE = re.compile(rb"([^\r\n]{0,2000})[^\r\n]*(?:\r{0,3}\n|\r|\Z)")
_BLOCK_BYTES = 512 * 1024
_SURE = 2


class Start(NamedTuple):
    """Where the headers begin, and where the message ends; `sure` if these are a mail's headers.

    Up to `lead` stand marks, blanks, counts and `From ` lines; from there to `at` lines that are no mail's.
    """

    lead: int
    at: int
    end: int
    sure: bool


def locate(data: bytes) -> Start | None:
    """The start of a mail's headers, or None where no mail stands within the first lines."""
    at = len(_BOM) if data.startswith(_BOM) else 0
    at = _behind_blanks(data, at)
    end = len(data)
    counted = _COUNT.match(data, at)
    if counted:  # Apple Mail's .emlx: a length, the message, a property list
        claimed = counted.end() + int(counted.group(1))
        at = _behind_blanks(data, counted.end())
        if data[claimed : claimed + 200].lstrip().startswith((b"<?xml", b"<!DOCTYPE plist", b"<plist")):
            end = claimed
    while found := _FROM_LINE.match(data, at, min(end, at + 2_000)):
        at = _behind_blanks(data, found.end())
        if at > _FROM_BYTES:
            break
    return _from_line(data, at, end)


def _behind_blanks(data: bytes, at: int) -> int:
    while at < len(data):
        chunk = data[at : at + 4_096]
        rest = chunk.lstrip(_BLANK)
        at += len(chunk) - len(rest)
        if rest:
            break
    return at


def _from_line(data: bytes, at: int, end: int) -> Start | None:
    first, junk = at, 0
    for number in range(_LEAD_LINES):
        found = _LINE.match(data, at, end)
        if found is None or at >= end or data.startswith(b"--", at):
            return None  # behind a boundary stand the headers of a part
        named = name_of(found.group(1).lstrip(b" \t\0"))
        if named and (number == 0 or known(key_of(named[0]))):
            score = _score(data, at, min(end, at + _BLOCK_BYTES))
            if score >= _SURE or (number == 0 and score):
                return Start(first, at, end, sure=score >= _SURE)
        if named is None:
            junk += found.end() - at
            if junk > _JUNK_BYTES or b"\0" in found.group(1):
                return None  # a file of another kind, with a mail or its headers inside
        at = found.end()
    return None


def _score(data: bytes, at: int, end: int) -> int:
    """2 and more for what is a mail's headers beyond doubt."""
    keys = {one.key for one in read_block(data, at, end).fields}
    strong = len(keys & STRONG)
    mime = len({role_of(one) for one in keys} - {"", "encoding"})
    people = len(keys & {"from", "to", "subject", "cc"})
    if strong or mime:
        return min(3, 2 * strong + mime + people)
    return people + ("date" in keys and people > 0)


def begins_like_mail(head: bytes) -> bool:
    """True if the first line of a file that is not blank is the first of a mail's headers."""
    if head[1:2] == b"\0" or head[:1] == b"\0" or head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.lstrip(b"\xff\xfe").replace(b"\0", b"")  # UTF-16
    at = _behind_blanks(head, len(_BOM) if head.startswith(_BOM) else 0)
    counted = _COUNT.match(head, at)
    at = _behind_blanks(head, counted.end()) if counted else at
    begun = _FROM_LINE.match(head, at)
    at = _behind_blanks(head, begun.end()) if begun else at
    found = _LINE.match(head, at)
    if found is None or name_of(found.group(1)) is None:
        return False
    return _score(head, at, len(head)) >= _SURE
