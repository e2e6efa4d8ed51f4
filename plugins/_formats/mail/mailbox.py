"""Messages in one file: an mbox (RFC 4155) split at its `From ` lines, and mails saved as UTF-16."""

from __future__ import annotations

import re
from typing import NamedTuple

from plugins._formats.mail.fields import name_of

_FROM = re.compile(
    rb"(?:\A|(?<=[\r\n]))From [^\r\n]{1,1000}(?:\r{0,3}\n|\r)(?:>?From [^\r\n]{0,1000}(?:\r{0,3}\n|\r))?"
)
_NEXT_LINE = re.compile(rb"[^\r\n]{0,400}")
_DATE = re.compile(rb"\d{1,2}:\d\d")
_MARKS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_SAMPLE_BYTES = 4 * 1024


class Message(NamedTuple):
    """One message of an mbox: offsets of its `From ` line, of its headers and of its end.

    `sure` unless its `From ` line could be a line of the message before: readers differ about those.
    """

    start: int
    body: int
    end: int
    sure: bool


def messages(data: bytes) -> list[Message]:
    """The messages of an mbox that holds more than one; an empty list for anything else."""
    first = len(data) - len(data.lstrip(b"\r\n \t\0")) if data[:1] in b"\r\n \t\0" else 0
    if not data.startswith((b"From ", b">From "), first):
        return []
    found: list[tuple[int, int, bool]] = []
    for one in _FROM.finditer(data, first):
        line = _NEXT_LINE.match(data, one.end())
        named = name_of(line.group()) if line else None
        if named:
            before = data[max(0, one.start() - 4) : one.start()].replace(b"\r", b"")
            alone = one.start() == first or before.endswith(b"\n\n") or b"\n" not in before
            found.append((one.start(), one.end(), alone and _DATE.search(one.group()) is not None))
    if len(found) < 2:
        return []
    ends = [start for start, _, _ in found[1:]] + [len(data)]
    return [Message(*one[:2], end, one[2]) for one, end in zip(found, ends, strict=True)]


def in_utf8(data: bytes) -> bytes | None:
    """A mail that was saved as UTF-16 (or as such without its mark), in UTF-8; None for any other."""
    sample = data[:_SAMPLE_BYTES]
    codec = _MARKS.get(sample[:2])
    if codec is None:
        half = len(sample) // 2
        if half < 8:
            return None
        even, odd = sample[::2].count(0), sample[1::2].count(0)
        if odd * 10 > half * 9 and even * 20 < half:
            codec = "utf-16-le"
        elif even * 10 > half * 9 and odd * 20 < half:
            codec = "utf-16-be"
    if codec is None:
        return None
    return data.decode(codec, "replace").lstrip("\ufeff").encode("utf-8", "replace")
