"""The account of a PDF: header, tables, streams; all else up to the last object is searched as it stands."""

from __future__ import annotations

import re

from stoq_core.account import Account

from .scan import Document

_HEAD = re.compile(
    rb"(?:%!PS-Adobe-\d\.\d )?[% ]?PDF-\d{1,2}\.\d{1,2}[^\r\n]{0,8}"
    rb"(?:[\r\n]+%[\x80-\xff]{1,8}[^\r\n]{0,8})?\s*"
)
_TABLES = (
    re.compile(rb"xref\s+(?:\d{1,10}\s+\d{1,10}\s+(?:\d{1,10}\s+\d{1,5}\s+[nf]\s*+)*+)+"),
    re.compile(rb"startxref\s+\d{0,20}\s*+"), re.compile(rb"%%EOF\s*+"),
)  # fmt: skip
"""Each begins with letters of its own: looked for one by one they are found at memory's speed."""
_CLOSES = re.compile(rb"\s*+(?:endstream\b)?\s*+(?:endobj\b)?\s*+")


def claim(document: Document, account: Account) -> None:
    """Claim what the streams' decoders have not: strings of objects and comments may be anything.

    What stands in front of the header or the first object, and behind the last thing known, is nobody's.
    """
    view, spans = document.view, [span for span in document.spans if span[1] > span[0]]
    head = _HEAD.search(view, 0, 2_048)
    if head is not None:
        spans.append((head.start(), head.end()))
    spans += [(found.start(), found.end()) for table in _TABLES for found in table.finditer(view)]
    for stream in document.streams:
        if stream.start not in document.claimed:  # locked, or the limits were reached before
            document.claimed[stream.start] = stream.end
            account.unread(stream.start, stream.end - stream.start)
    if not spans:
        return
    at, end = min(spans)[0], _closed(view, max(map(max, (*spans, *document.claimed.items()))))
    for start, stop in sorted(document.claimed.items()):
        account.searched(at, start - at)
        at = max(at, stop)
    account.searched(at, end - at)


def _closed(view: memoryview, at: int) -> int:
    found = _CLOSES.match(view, at)
    return found.end() if found else at
