"""Decode base64: the name that users of stoQ know, for what the worker `decode` reads beside all else."""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from typing import Any

import msgspec

from plugins._formats.encodings import radix64
from plugins._formats.encodings.spans import Found
from plugins._formats.encodings.worth import CERTIFICATE
from plugins._text.textual import blocks_of, charset_of, text_of
from stoq_core.job import Job
from stoq_core.options import Options
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_SPACE = b" \t\r\n\v\f"
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
_STANDARD = bytes.maketrans(b"-_", b"+/")


class EncodedRun(msgspec.Struct, frozen=True):
    """Where a run stands: `offset` and `size` of its text in bytes."""

    offset: int
    size: int


class B64decodeResult(msgspec.Struct, frozen=True):
    """`runs` that were decoded, in order, and their `count`."""

    runs: list[EncodedRun]
    count: int


class B64decode(Worker[Options]):
    """What a payload of nothing but base64 decodes to, else each run that gives a file or text.

    Not routed to: `decode` does the same and more.
    """

    result = B64decodeResult

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield a child a run, then one `B64decodeResult`."""
        runs: list[EncodedRun] = []
        for found in self._found(payload.view()):
            yield job.child([found.data], offset=found.offset)
            runs.append(EncodedRun(found.offset, found.size))
        if runs:
            yield B64decodeResult(runs[:1_000], len(runs))

    def _found(self, view: memoryview) -> Iterator[Found]:
        charset = charset_of(view)
        if charset is None:
            return
        text = text_of(view, charset)
        whole = _whole(text)
        if whole:
            yield Found(0, len(view), "base64", whole, "")
            return
        for offset, block in blocks_of(text):
            for found in radix64.found_in(block):
                if "base64" in found.encoding and found.label != CERTIFICATE:
                    yield found._replace(offset=found.offset + offset)


def _whole(text: bytes) -> bytes:
    """What the text decodes to, if there is nothing in it but base64, white space and padding."""
    letters = text.translate(_STANDARD, _SPACE)
    plain = letters.rstrip(b"=")
    padding = len(letters) - len(plain)
    if not plain or padding > 2 or plain.translate(None, _LETTERS) or len(plain) % 4 == 1:
        return b""
    return binascii.a2b_base64(plain + b"=" * (-len(plain) % 4))
