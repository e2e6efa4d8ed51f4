"""Carve what an XML Data Package carries as base64: the PDF in its chunks, images, attachments.

Format: XML Data Package (XDP) as in Adobe's XFA specification 3.3, chapter 29. It is read by a scanner
of our own and not by an XML parser: the samples that matter are malformed on purpose, readers take them
all the same, and a scanner that knows no entities and no DTD has no bombs to be protected from.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

import msgspec

from stoq_core.errors import ConfigError, Reason
from stoq_core.job import Job
from stoq_core.limits import Limits, MiB
from stoq_core.options import Options, about
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_MOST_NESTED = 64
_STEP_BYTES = 1 << 20
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NOT_ALPHABET = bytes(set(range(256)) - set(_ALPHABET))
_SPACE = b" \t\r\n\v\f"
_TAG = re.compile(rb"<[^<>]*+>")
_REFERENCE = re.compile(rb"&#(?:[xX]([0-9A-Fa-f]{1,6})|([0-9]{1,7}));?")
_MOST_PIECES = 10_000
_MOST_TAGS = 200_000
_MOST_JUNK = 0.25


class XdpcarveOptions(Options, frozen=True):
    """Where to look."""

    elements: Annotated[
        tuple[str, ...], about("elements whose text is decoded, without prefix", min_length=1)
    ] = ("chunk", "image")
    min_bytes: Annotated[int, about("shortest decoded size that becomes a child", ge=1)] = 1


class XdpcarveResult(msgspec.Struct, frozen=True):
    """`count` of the elements that were decoded, and of those `by_element`."""

    count: int
    by_element: dict[str, int]


class Xdpcarve(Worker[XdpcarveOptions]):
    """Yield the decoded text of each such element (`element`, `offset`).

    Prefixes, letter case, CDATA, comments and tags inside, character references, UTF-16 and a missing
    end tag make no difference; elements may be nested. Chunks that follow each other make one document:
    where there are several, they are also yielded together.
    """

    roles = ("opens",)
    limits = Limits(input_bytes=128 * MiB, children=1_000)
    result = XdpcarveResult
    errors = {
        "not_base64": "an element's text is no base64; nothing was carved from it",
        "too_many_tags": "more than 200,000 tags of wanted elements; what is behind them was not read",
    }

    def __init__(self, options: XdpcarveOptions, name: str) -> None:
        """Refuse names that no element has."""
        super().__init__(options, name)
        bad = [one for one in options.elements if not _NAME.fullmatch(one)]
        if bad:
            raise ConfigError(f"worker.{name}.elements: {bad[0]!r} is no element's name")
        names = b"|".join(re.escape(one.encode()) for one in options.elements)
        prefix = rb"<(/?)(?:[A-Za-z_][A-Za-z0-9_.-]{0,63}+:)?"
        self._marks = re.compile(prefix + rb"(" + names + rb")(?=[\s/<>]|\Z)[^<>]*+>?", re.IGNORECASE)

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield a child an element, then one `XdpcarveResult`."""
        text = _as_bytes(payload.view())
        counts: dict[str, int] = {}
        group: list[_Element] = []
        for element in _elements(self._marks, text, job):
            chunks = _decoded(text, element)
            if chunks is None:
                message = f"the text of <{element.name}> at offset {element.offset} is no base64"
                job.error("not_base64", message)
                job.unread(Reason.CORRUPT, message)
                continue
            if sum(map(len, chunks)) < self.options.min_bytes:
                continue
            if group and not _follows(text, group[-1], element):
                yield from _together(text, group, job)
                group = []
            group.append(element)
            counts[element.name] = counts.get(element.name, 0) + 1
            yield job.child(chunks, element=element.name, offset=element.offset)
        yield from _together(text, group, job)
        if counts:
            yield XdpcarveResult(sum(counts.values()), counts)


class _Element(NamedTuple):
    """An element: where its tag stands, the stretches of text that are its own, where its end tag ends."""

    name: str
    offset: int
    parts: list[tuple[int, int]]
    end: int


def _as_bytes(view: memoryview) -> bytes:
    """The text with one byte a letter: UTF-16 is told by its mark or by the zeros beside the first `<`."""
    head = bytes(view[:4])
    if head[:2] in (b"\xff\xfe", b"\xfe\xff") or head in (b"<\0?\0", b"\0<\0?", b"<\0x\0", b"\0<\0x"):
        order = "utf-16" if head[:1] > b"<" else "utf-16-be" if head[:1] == b"\0" else "utf-16-le"
        return bytes(view).decode(order, "replace").encode("latin-1", "replace")
    return bytes(view)


def _elements(marks: re.Pattern[bytes], text: bytes, job: Job) -> Iterator[_Element]:
    """Wanted elements in the order in which they end; text belongs to the innermost one."""
    open_ones: list[_Element] = []
    since = 0
    for number, mark in enumerate(marks.finditer(text)):
        if number >= _MOST_TAGS:
            message = f"more than {_MOST_TAGS} tags; from offset {mark.start()} on nothing was read"
            job.error("too_many_tags", message, allowed=_MOST_TAGS)
            job.unread(Reason.OPTION_LIMIT, message)
            break
        if open_ones:
            open_ones[-1].parts.append((since, mark.start()))
        since = mark.end()
        name = mark[2].decode().lower()
        if not mark[1]:
            if not mark[0].endswith(b"/>") and len(open_ones) < _MOST_NESTED:
                open_ones.append(_Element(name, mark.start(), [], 0))
            continue
        at = next((n for n in range(len(open_ones) - 1, -1, -1) if open_ones[n].name == name), None)
        if at is None:
            continue
        for one in reversed(open_ones[at:]):
            yield one._replace(end=mark.end())
        del open_ones[at:]
    if open_ones:
        open_ones[-1].parts.append((since, len(text)))
    for one in reversed(open_ones):
        yield one._replace(end=len(text))


def _decoded(text: bytes, element: _Element) -> list[bytes] | None:
    """What the element's text stands for; None for text that is no base64."""
    raw = b"".join(text[start:end] for start, end in element.parts)
    plain = _without_markup(raw).translate(None, _SPACE)
    letters = plain.translate(None, _NOT_ALPHABET)
    junk = len(plain) - len(letters) - plain.count(b"=")
    if junk > _MOST_JUNK * len(plain) or plain.count(b"=") > _MOST_PIECES:
        return None
    pieces = (one.translate(None, _NOT_ALPHABET) for one in plain.split(b"="))
    return [chunk for piece in pieces if piece for chunk in _pieces(piece)]


def _pieces(letters: bytes) -> Iterator[bytes]:
    """One padded stretch of base64, a megabyte at a time; a lone last letter stands for nothing."""
    for at in range(0, len(letters), _STEP_BYTES):
        part = letters[at : at + _STEP_BYTES]
        part = part[:-1] if len(part) % 4 == 1 else part
        yield binascii.a2b_base64(part + b"=" * (-len(part) % 4))


def _without_markup(raw: bytes) -> bytes:
    """The text alone: no comments, tags and CDATA marks, numeric references as their characters."""
    if b"<" in raw:
        raw = _TAG.sub(b"", _without_comments(raw).replace(b"<![CDATA[", b"").replace(b"]]>", b""))
    return _REFERENCE.sub(_character, raw) if b"&#" in raw else raw


def _without_comments(raw: bytes) -> bytes:
    """Linear: once no comment ends any more, none is looked for."""
    kept, at = [], 0
    while (start := raw.find(b"<!--", at)) >= 0:
        end = raw.find(b"-->", start + 4)
        if end < 0:
            break
        kept.append(raw[at:start])
        at = end + 3
    return b"".join((*kept, raw[at:]))


def _character(found: re.Match[bytes]) -> bytes:
    number = int(found[1], 16) if found[1] else int(found[2])
    return bytes([number]) if number < 128 else b"?"


def _follows(text: bytes, before: _Element, element: _Element) -> bool:
    """True if nothing but white space stands between two elements of one name."""
    between = text[before.end : element.offset]
    return before.name == element.name and before.end <= element.offset and not between.strip()


def _together(text: bytes, group: list[_Element], job: Job) -> Iterator[Any]:
    """The elements of one document as one child, if there are several."""
    if len(group) > 1:  # the text is joined, not the bytes: a chunk may end anywhere
        parts = [part for element in group for part in element.parts]
        chunks = _decoded(text, group[0]._replace(parts=parts)) or []
        yield job.child(chunks, element=group[0].name, offset=group[0].offset, parts=len(group))
