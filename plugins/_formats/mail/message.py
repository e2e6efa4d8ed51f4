"""Read Internet messages (RFC 5322, MIME) with the standard library, within bounds and with bytes intact."""

from __future__ import annotations

import binascii
import codecs
import re
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from email import errors, feedparser, message, policy
from typing import Any, NamedTuple

import msgspec

_MAX_LINES = 3_000_000
_MAX_MARKS = 20_000
_MAX_HEADER = 64 * 1024
_MAX_PARAMETERS = 8 * 1024
"""The library reads parameters in quadratic time, so a longer `Content-…` header is cut before it is read."""
_MIN_OUTSIDE = 256
_MAX_READ_AGAIN = 10
_MOST_RUNS = 1_000
"""Parts of base64 with padding between them; what stands behind so many is decoded as one."""
_WORD = re.compile(r"=\?([^?\s*]{1,60})(?:\*[^?\s]{0,20})?\?([bBqQ])\?([^?\r\n]*+)\?=")
_GAP = re.compile(r"(?<=\?=)[ \t\r\n]{1,200}(?==\?)")
_NOT_FOR_MAIL = frozenset(
    {"idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape", "mbcs", "oem"}
)
_NO_BASE64 = re.compile(rb"[^A-Za-z0-9+/=]+")
_PADDING = re.compile(rb"=+")
_UU_BEGIN = re.compile(rb"(?:\A|\n)begin(-base64)? [0-7]{3,4} ([^\r\n]{1,255})\r?\n")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


class MailPart(message.Message):
    """A part whose inner messages stay the bytes they are: nothing of them is parsed or written anew."""

    reading = True

    def get_content_type(self) -> str:
        """The type; while the parser asks, a message inside is plain text to it."""
        kind = super().get_content_type()
        return "text/plain" if self.reading and kind.startswith("message/") else kind

    def get_param(self, *args: Any, **named: Any) -> Any:
        r"""A parameter; the library raises on charsets that are none (`utf-8*\0'…`)."""
        return _quietly(super().get_param, *args, **named)

    def get_boundary(self, *args: Any, **named: Any) -> Any:
        """As `get_param`."""
        return _quietly(super().get_boundary, *args, **named)

    def get_content_charset(self, *args: Any, **named: Any) -> Any:
        """As `get_param`."""
        return _quietly(super().get_content_charset, *args, **named)

    def raw(self) -> bytes:
        """The body as it stands in the mail; `get_payload` would decode 8-bit text by its charset."""
        held: Any = vars(self).get("_payload")
        return held.encode("ascii", "surrogateescape") if isinstance(held, str) else b""

    def get_content_maintype(self) -> str:
        """As the type."""
        return self.get_content_type().partition("/")[0]


def _quietly(ask: Callable[..., Any], *args: Any, **named: Any) -> Any:
    try:
        return ask(*args, **named)
    except (ValueError, LookupError, TypeError, AttributeError):
        return named.get("failobj")


class _Bounded(policy.Compat32):
    """Headers are cut before anything reads them."""

    def header_source_parse(self, sourcelines: Sequence[str]) -> tuple[str, str]:
        name, _, value = sourcelines[0].partition(":")
        most = _MAX_PARAMETERS if name.lower().startswith("content-") else _MAX_HEADER
        value = value.lstrip(" \t") + "".join(sourcelines[1:])
        return name, value[:most].rstrip("\r\n")

    def header_fetch_parse(self, name: str, value: Any) -> Any:
        """As it stands; the library would put question marks in place of 8-bit letters."""
        return value


class Cut(msgspec.Struct):
    """Where reading stopped, and why, for a message with too many lines or boundaries."""

    at: int
    why: str


def parse(content: bytes) -> tuple[MailPart, Cut | None]:
    """The message, and where it was cut. Raises `RecursionError` for parts nested hundreds deep."""
    cut = _cut(content)
    parser = feedparser.BytesFeedParser(MailPart, policy=_Bounded())
    parser.feed(content[: cut.at] if cut else content)
    made = parser.close()
    assert isinstance(made, MailPart)
    return made, cut


def _cut(content: bytes) -> Cut | None:
    for mark, most, why in ((b"\n--", _MAX_MARKS, "boundaries"), (b"\n", _MAX_LINES, "lines")):
        if content.count(mark) > most:
            at = -1
            for _ in range(most):
                at = content.find(mark, at + 1)
            return Cut(at, f"more than {most} {why}")
    return None


def parts(root: MailPart) -> Iterator[tuple[str, MailPart]]:
    """Each part that holds no other parts, with its place (`1.2`), in order; without recursion.

    Parts that stand behind the end of a multipart, where an inner boundary equals the outer one, are
    read as mail programs show them.
    """
    stack: list[tuple[str, MailPart]] = [("1", root)]
    read_again = 0
    while stack:
        place, part = stack.pop()
        part.reading = False
        inner = _inner(part)
        if inner is None:
            yield place, part
            continue
        if read_again < _MAX_READ_AGAIN and (behind := _parts_behind(part)) is not None:
            read_again += 1
            part.epilogue = None
            stack.append((f"{place}.+"[-200:], behind))
        stack += [(f"{place}.{number}"[-200:], one) for number, one in enumerate(inner, 1)][::-1]


def _inner(part: MailPart) -> list[MailPart] | None:
    """The parts of a multipart, or None for a part that holds bytes."""
    held = vars(part).get("_payload")
    return [one for one in held if isinstance(one, MailPart)] if isinstance(held, list) else None


def _parts_behind(part: MailPart) -> MailPart | None:
    """What stands in the epilogue as a multipart of its own, if a boundary of this one stands there."""
    boundary, text = part.get_boundary(), part.epilogue
    if not boundary or not isinstance(text, str) or f"--{boundary}\n" not in text.replace("\r", ""):
        return None
    head = f'Content-Type: multipart/mixed; boundary="{boundary}"\n\n'.encode("ascii", "surrogateescape")
    try:
        return parse(head + text.encode("ascii", "surrogateescape"))[0]
    except RecursionError:
        return None


def outside(root: MailPart) -> Iterator[tuple[str, bytes]]:
    """Long texts before the first and behind the last part of a multipart, which mail programs may show."""
    stack = [root]
    while stack:
        part = stack.pop()
        for name, text in (("preamble", part.preamble), ("epilogue", part.epilogue)):
            if isinstance(text, str) and len(text.strip()) >= _MIN_OUTSIDE:
                yield name, text.encode("ascii", "surrogateescape")
        stack += (_inner(part) or [])[::-1]


class Decoded(NamedTuple):
    """Bytes whose transfer encoding is undone: `whole` if it was right, `lost` if some may be elsewhere."""

    content: bytes
    whole: bool = True
    lost: bool = False


def body_of(part: MailPart) -> Decoded:
    """A part's bytes with the transfer encoding undone, as far as that can be done."""
    data = part.raw()
    encoding = str(part.get("content-transfer-encoding", "")).strip().lower()
    if encoding == "base64":
        return _base64(data)
    if encoding == "quoted-printable":
        return Decoded(binascii.a2b_qp(data))
    if encoding in ("x-uuencode", "uuencode", "uue", "x-uue"):
        for _, decoded in uuencoded(data):
            return decoded
        return Decoded(data, whole=False, lost=True)
    return Decoded(data)


def _base64(data: bytes) -> Decoded:
    """As mail programs do: what is no base64 is skipped (RFC 2045, 6.8), and a missing end is forgiven.

    Some end at padding that stands in the middle, as binascii does, others begin anew behind it. What comes
    of the latter begins with what comes of the former; a third kind may read yet others.
    """
    *runs, rest = _PADDING.split(_NO_BASE64.sub(b"", data), _MOST_RUNS)
    runs = [one for one in (*runs, rest.replace(b"=", b"")) if one]
    decoded = b"".join(map(_run, runs))
    uneven = any(len(one) % 4 == 1 for one in runs) or (bool(runs) and _unpadded(data, runs[-1]))
    return Decoded(decoded, whole=not uneven and len(runs) < 2, lost=len(runs) > 1)


def _run(letters: bytes) -> bytes:
    letters = letters[:-1] if len(letters) % 4 == 1 else letters
    return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))


def _unpadded(data: bytes, last: bytes) -> bool:
    return data.rstrip()[-3:].count(b"=") < -len(last) % 4


def uuencoded(text: bytes) -> Iterator[tuple[str, Decoded]]:
    """Files in a text as `begin 644 name` … `end`, by name; POSIX's `begin-base64` ends with `====`."""
    at = 0
    while found := _UU_BEGIN.search(text, at):
        in_base64 = found.group(1) is not None
        stop = text.find(b"\n====" if in_base64 else b"\nend", found.end() - 1)
        at = stop if stop >= 0 else len(text)
        body = text[found.end() : at]
        decoded = _base64(body) if in_base64 else _by_uu_lines(body, ended=stop >= 0)
        if decoded.content or decoded.lost:
            yield to_text(found.group(2)), decoded


def _by_uu_lines(body: bytes, *, ended: bool) -> Decoded:
    made, whole, lost = [], True, False
    for line in body.splitlines():
        if line in (b"`", b" "):  # a line of no bytes is the last one
            ended = True
            break
        if line:
            data, right = _uu_line(line)
            made.append(data)
            whole = whole and right
            lost = lost or not (right or data)
    return Decoded(b"".join(made), whole=whole and ended, lost=lost)


def _uu_line(line: bytes) -> tuple[bytes, bool]:
    """A line's bytes; what its last group has too many, or stands behind it, is garbage, which some leave."""
    try:
        return binascii.a2b_uu(line), True
    except binascii.Error:
        size = (line[0] - 32) & 63
        groups = (size + 2) // 3
    whole = bytes((32 + 3 * groups,)) + line[1 : 1 + 4 * groups]
    try:
        return binascii.a2b_uu(whole)[:size], len(line) <= len(whole)
    except binascii.Error:
        return b"", False


def to_text(raw: bytes, charset: str | None = None) -> str:
    """Bytes as text by the charset that the mail names, where it is one for mail; else UTF-8 or Latin-1."""
    for name in (charset, "utf-8"):
        try:
            codec = codecs.lookup(name or "utf-8")
            if codec.name in _NOT_FOR_MAIL:
                continue
            return raw.decode(codec.name)
        except (LookupError, UnicodeError, ValueError):
            continue
    return raw.decode("latin-1")


def header_text(value: Any) -> str:
    """A header's value unfolded, with encoded words (RFC 2047) and raw 8-bit bytes decoded."""
    raw = str(value)
    if not raw.isascii():
        raw = to_text(raw.encode("utf-8", "surrogateescape"))
    if "=?" in raw:
        raw = _WORD.sub(_word, _GAP.sub("", raw))
    return " ".join(raw.split()) if "\n" in raw or "\r" in raw else raw.strip()


def _word(found: re.Match[str]) -> str:
    charset, how, text = found.groups()
    raw = text.encode("utf-8", "replace")
    raw = _base64(raw)[0] if how in "bB" else binascii.a2b_qp(raw, header=True)
    return to_text(raw, charset)


def clean_name(name: str) -> str:
    """A file name without control characters; direction marks stay, since they are evidence."""
    return _CONTROLS.sub(" ", name).strip()[:1_000]


def file_name(part: MailPart) -> str:
    """A part's file name by RFC 2183, 2231 or 2047, or an empty string."""
    for parameter, header in (("filename", "content-disposition"), ("name", "content-type")):
        value = part.get_param(parameter, None, header)
        if isinstance(value, tuple):
            charset, _, encoded = value
            raw = urllib.parse.unquote_to_bytes(encoded.encode("utf-8", "surrogateescape"))
            raw = encoded.encode("latin-1", "replace") if not encoded.isascii() else raw
            value = to_text(raw, charset)
        if value:
            return clean_name(header_text(value))
    return ""


def headers(part: MailPart) -> Iterator[tuple[str, str]]:
    """Every header in order, decoded."""
    for name, value in part.raw_items():
        yield name if name.isascii() else to_text(name.encode("utf-8", "surrogateescape")), header_text(value)


def defects(root: MailPart) -> list[str]:
    """What the parser found wrong, as words: `missing header body separator`."""
    found = [one for _, part in parts(root) for one in part.defects] + root.defects
    names = (
        type(one).__name__.removesuffix("Defect") for one in found if isinstance(one, errors.MessageDefect)
    )
    return sorted({re.sub(r"(?<=[a-z])(?=[A-Z0-9])", " ", one).lower() for one in names})
