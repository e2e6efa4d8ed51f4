"""Undo the transfer encodings of mail bodies in each way that some mail program does.

Base64 (RFC 2045, 6.8), quoted-printable (6.7), uuencode (POSIX.1-2017), yEnc 1.3, and `x-gzip64`, which is
base64 of gzip. What is damaged is read by all plausible readings, so that nothing hides behind the damage.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import NamedTuple

_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NO_LETTER = bytes(set(range(256)) - set(_LETTERS + b"="))
_NO_JUNK = _LETTERS + b"=\r\n\t \0"
_PADDING = re.compile(rb"=+")
_UNEVEN = re.compile(rb"(?:\A|=)(?:[^=]{4})*+[^=]{1,3}=")
_MOST_RUNS = 1_000
"""Runs of base64 with padding between them; what stands behind so many is decoded as one."""
_MIN_JUNK = 16
"""So many bytes that are no base64 are a text of their own, which is scanned as it stands, too."""
_BREAK = re.compile(rb"\r{0,3}\n|\r")
_SOFT = re.compile(rb"=[ \t]{0,100}(?:\r{0,3}\n|\r)")
_UU_BEGIN = re.compile(
    rb"(?:\A|[\r\n])[ \t>]{0,8}begin(-base64)?[ \t]{1,4}0{0,3}[0-7]{3,4}[ \t]{1,4}"
    rb"([^\r\n]{1,255})(?:\r{0,3}\n|\r)"
)
_UU_END = re.compile(rb"[\r\n][ \t>]{0,8}end[ \t]{0,9}(?=[\r\n]|\Z)")
_YENC_BEGIN = re.compile(rb"(?:\A|[\r\n])=ybegin ([^\r\n]{1,1000})(?:\r{0,3}\n|\r)")
_YENC_PART = re.compile(rb"=ypart ([^\r\n]{1,1000})(?:\r{0,3}\n|\r)")
_YENC_PLAIN = bytes((one - 42) & 0xFF for one in range(256))
_NAMES = {
    "base64": "base64", "b64": "base64", "bas64": "base64", "base": "base64", "xbase64": "base64",
    "base64encoded": "base64", "mimebase64": "base64", "gzip64": "base64", "xgzip64": "base64",
    "quotedprintable": "quoted-printable", "qp": "quoted-printable", "quoted": "quoted-printable",
    "printable": "quoted-printable", "xquotedprintable": "quoted-printable",
    "quotedprintible": "quoted-printable",
    "uuencode": "uuencode", "xuuencode": "uuencode", "uue": "uuencode", "xuue": "uuencode", "uu": "uuencode",
    "yenc": "yenc", "xyenc": "yenc",
    "7bit": "identity", "8bit": "identity", "binary": "identity", "7bits": "identity", "8bits": "identity",
    "7": "identity", "8": "identity", "none": "identity", "identity": "identity", "usascii": "identity",
    "binhex": "identity", "binhex40": "identity", "macbinhex40": "identity",
}  # fmt: skip


class Decoded(NamedTuple):
    """What one reading of a body gives.

    `how` names a reading that is not the first, `name` is the one that the encoding carries, `lost` says that
    some bytes could be read by nobody.
    """

    content: bytes
    how: str = ""
    name: bytes = b""
    lost: bool = False


def encoding_of(word: str) -> str:
    """The encoding that a word of `Content-Transfer-Encoding` means, `unknown` if none."""
    word = re.sub(r"[^a-z0-9]+", "", word.lower())
    if word in _NAMES:
        return _NAMES[word]
    if word.startswith("base64") or word.endswith("base64"):
        return "base64"
    return "quoted-printable" if "printable" in word else "unknown"


def readings(data: bytes, encodings: list[str]) -> list[Decoded]:
    """A body by each of its encodings (names as `encoding_of` gives them), the likeliest first, no two alike.

    With none it is as it stands. By an encoding that nobody knows it is read as it stands and by what its
    letters look like.
    """
    found: list[Decoded] = []
    for encoding in encodings or ["identity"]:
        found += _by(encoding, data)
    return list({one.content: one for one in reversed(found)}.values())[::-1]


def _by(encoding: str, data: bytes) -> list[Decoded]:
    if encoding == "base64":
        return base64_readings(data)
    if encoding == "quoted-printable":
        return [Decoded(quoted_printable(data))]
    if encoding == "uuencode":
        return list(uuencoded(data)) or [Decoded(data, lost=bool(data.strip()))]
    if encoding == "yenc":
        return list(yencoded(data)) or [Decoded(data, lost=bool(data.strip()))]
    plain = [Decoded(data)]
    if encoding == "unknown":
        lines = [one for one in _BREAK.split(data) if one and not one.translate(None, _NO_JUNK)]
        if sum(map(len, lines)) > len(data) // 2:
            return [*plain, *(one._replace(how=one.how or "as base64") for one in base64_readings(data))]
        if b"=" in data:
            plain.append(Decoded(quoted_printable(data), how="as quoted-printable"))
    return plain


def base64_readings(data: bytes) -> list[Decoded]:
    """As mail programs do: what is no base64 is skipped, a missing end is forgiven.

    Some end at padding in the middle, others begin anew behind it: what comes of the latter begins with what
    comes of the former. A third kind takes the padding for junk, a fourth leaves out lines that hold junk, a
    fifth knows the letters of URLs.
    """
    letters = data.translate(None, _NO_LETTER)
    *runs, rest = _PADDING.split(letters, _MOST_RUNS)
    lost = len(runs) == _MOST_RUNS and _UNEVEN.search(rest) is not None
    runs = [one for one in (*runs, rest.replace(b"=", b"")) if one]
    found = [Decoded(b"".join(map(base64_run, runs)), lost=lost)]
    if any(len(one) % 4 for one in runs[:-1]):
        found.append(Decoded(base64_run(letters.replace(b"=", b"")), how="padding skipped"))
    junk = data.translate(None, _NO_JUNK)
    if junk:
        lines = [one for one in _BREAK.split(data) if not one.translate(None, _NO_JUNK)]
        clean = b"".join(lines).translate(None, _NO_LETTER)
        if clean and clean != letters:
            found.append(Decoded(base64_run(clean.replace(b"=", b"")), how="lines with junk skipped"))
        if b"-" in junk or b"_" in junk:
            url = data.replace(b"-", b"+").replace(b"_", b"/").translate(None, _NO_LETTER)
            found.append(Decoded(base64_run(url.replace(b"=", b"")), how="letters of URLs"))
        if len(junk) >= _MIN_JUNK:
            found.append(Decoded(data, how="as it stands"))
    return found


def base64_run(letters: bytes) -> bytes:
    """Base64 of nothing but its 64 letters, any number of them."""
    letters = letters[:-1] if len(letters) % 4 == 1 else letters
    return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))


def quoted_printable(data: bytes) -> bytes:
    """RFC 2045, 6.7, with any line ends; what is no escape stays as it stands."""
    return binascii.a2b_qp(_SOFT.sub(b"", data))


def uuencoded(text: bytes) -> Iterator[Decoded]:
    """Files in a text as `begin 644 name` … `end`, by name; POSIX's `begin-base64` ends with `====`."""
    at = 0
    while found := _UU_BEGIN.search(text, at):
        in_base64 = found.group(1) is not None
        if in_base64:
            stop = text.find(b"====", found.end())
        else:
            end = _UU_END.search(text, found.end() - 1)
            stop = end.start() if end else -1
        at = stop if stop >= 0 else len(text)
        body = text[found.end() : at]
        name = found.group(2).strip()
        if in_base64:
            yield base64_readings(body)[0]._replace(name=name)
            continue
        content, lost = _by_uu_lines(body)
        if content or lost:
            yield Decoded(content, name=name, lost=lost)


def _by_uu_lines(body: bytes) -> tuple[bytes, bool]:
    made, lost = [], False
    for line in _BREAK.split(body):
        if line in (b"`", b" "):  # a line of no bytes is the last one
            break
        if line:
            data, right = _uu_line(line)
            made.append(data)
            lost = lost or not right
    return b"".join(made), lost


def _uu_line(line: bytes) -> tuple[bytes, bool]:
    """A line's bytes; what its last group has too many, or stands behind it, is garbage, which some leave."""
    try:
        return binascii.a2b_uu(line), True
    except binascii.Error:
        size = (line[0] - 32) & 63
        groups = (size + 2) // 3
    whole = bytes((32 + 3 * groups,)) + line[1 : 1 + 4 * groups]
    try:
        return binascii.a2b_uu(whole)[:size], True
    except binascii.Error:
        return b"", False


def yencoded(text: bytes) -> Iterator[Decoded]:
    """Files in a text as `=ybegin … name=…` to `=yend`; parts of one file in a row are joined."""
    at = 0
    name, size, made = b"", 0, [b""]
    while found := _YENC_BEGIN.search(text, at):
        start = found.end()
        part = _YENC_PART.match(text, start)
        start = part.end() if part else start
        end = text.find(b"=yend", start)
        at = end if end >= 0 else len(text)
        facts, _, called = found.group(1).partition(b"name=")
        if any(made) and not (part and called.strip() == name):
            yield _whole(made, name, size)
            made = []
        name = called.strip()
        claimed = re.search(rb"size=(\d{1,12})", facts)
        size = int(claimed.group(1)) if claimed else 0
        made.append(_by_yenc(text[start:at]))
    if any(made):
        yield _whole(made, name, size)


def _whole(made: list[bytes], name: bytes, size: int) -> Decoded:
    content = b"".join(made)
    return Decoded(content, name=name, lost=len(content) < size)


def _by_yenc(body: bytes) -> bytes:
    first, *escaped = body.replace(b"\r", b"").replace(b"\n", b"").split(b"=")
    made = [first.translate(_YENC_PLAIN)]
    made += [bytes(((one[0] - 106) & 0xFF,)) + one[1:].translate(_YENC_PLAIN) for one in escaped if one]
    return b"".join(made)
