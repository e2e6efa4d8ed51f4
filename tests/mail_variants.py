"""Mails as careless and hostile programs write them, by start, header, boundary, encoding, line ends."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import NamedTuple

MARKER = b"MAIL-VARIANT-MARKER-58c1e0 " * 4
LONG = b"a" * 2_000

Lines = list[bytes]


class Shape(NamedTuple):
    """What varies: the mail's headers, the part's headers, the lines that part them, and the body."""

    root: Lines
    part: Lines
    boundary: bytes
    value: bytes
    close: Lines
    junk: bytes = b""


def _root(kind: bytes) -> Lines:
    return [
        b"From: a@b.example",
        b"To: c@d.example",
        b"Subject: x",
        b"MIME-Version: 1.0",
        b"Content-Type: " + kind,
    ]


def _part(encoding: bytes) -> Lines:
    return [b'Content-Type: application/octet-stream; name="a.js"', b"Content-Transfer-Encoding: " + encoding,
            b'Content-Disposition: attachment; filename="a.js"']  # fmt: skip


def _each(change: Callable[[bytes], bytes]) -> Callable[[Lines], Lines]:
    return lambda lines: [change(line) for line in lines]


def _split(line: bytes, glue: bytes) -> bytes:
    name, _, value = line.partition(b": ")
    return name + glue + value


def _encoding_line(lines: Lines) -> int:
    return next((n for n, line in enumerate(lines) if line.startswith(b"Content-Transfer")), len(lines))


def _around(lines: Lines, before: Lines, behind: Lines) -> Lines:
    at = _encoding_line(lines)
    return [*lines[:at], *before, *lines[at : at + 1], *behind, *lines[at + 1 :]]


HEADERS: dict[str, Callable[[Lines], Lines]] = {
    "plain": lambda lines: lines,
    "no blank": _each(lambda line: _split(line, b":")),
    "blank before colon": _each(lambda line: _split(line, b" : ")),
    "tabs": _each(lambda line: _split(line, b"\t:\t")),
    "comment in name": _each(lambda line: _split(line, b"(a comment): ")),
    "nested comment with colon": _each(lambda line: _split(line, b" (a (b: c) d) : ")),
    "comment in value": _each(lambda line: _split(line, b": (a (b) c) ") + b" (d)"),
    "upper": _each(lambda line: line.split(b":")[0].upper() + line[line.index(b":") :]),
    "lower": _each(lambda line: line.split(b":")[0].lower() + line[line.index(b":") :]),
    "folded": _each(lambda line: _split(line, b":\n ")),
    "folded behind semicolons": _each(lambda line: line.replace(b"; ", b";\n\t")),
    "NUL in name": _each(lambda line: line.replace(b"C", b"C\0", 1)),
    "junk line": lambda lines: [*lines[:1], b"this is no header", *lines[1:]],
    "first header odd": lambda lines: [b"X_Odd.1: 1", *lines],
    "first header long": lambda lines: [b"X-Long: " + LONG, *lines],
    "first header huge": lambda lines: [b"X-Huge: " + LONG * 50, *lines],
    "blank-only line": lambda lines: [*lines[:1], b" ", *lines[1:]],
    "misspelt encoding": _each(lambda line: line.replace(b"Transfer-Encoding", b"Transfer-Encodings")),
    "quoted encoding": _each(
        lambda line: line[:27] + b'"' + line[27:] + b'"' if b"Transfer" in line else line
    ),
    "semicolon behind encoding": _each(lambda line: line + b";" if b"Transfer" in line else line),
    "two encodings, 7bit first": lambda lines: _around(lines, [b"Content-Transfer-Encoding: 7bit"], []),
    "two encodings, 7bit last": lambda lines: _around(lines, [], [b"Content-Transfer-Encoding: 7bit"]),
    "two encodings, unknown first": lambda lines: _around(
        lines, [b"Content-Transfer-Encoding: x-nobody"], []
    ),
    "unknown header between": lambda lines: _around(lines, [b"X-: : ;;="], [b"Content-: x"]),
}  # fmt: skip
ROOTS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda mail: mail,
    "BOM": lambda mail: b"\xef\xbb\xbf" + mail,
    "UTF-16": lambda mail: b"\xff\xfe" + mail.decode("latin-1").encode("utf-16-le"),
    "UTF-16 without mark": lambda mail: mail.decode("latin-1").encode("utf-16-be"),
    "line of HTML": lambda mail: b"<!-- x -->\r\n" + mail,
    "empty lines": lambda mail: b"\r\n \r\n\r\n" + mail,
    "mbox": lambda mail: b"From a@b.c Tue Jul  1 10:00:00 2025\r\n" + mail,
    "quoted mbox": lambda mail: b">From a@b.c Tue Jul  1 10:00:00 2025\r\n" + mail,
    "emlx": lambda mail: b"%d       \n" % len(mail) + mail + b"<?xml version='1.0'?><plist></plist>",
    "NULs": lambda mail: b"\0" * 20 + mail,
    "no version": lambda mail: mail.replace(b"MIME-Version: 1.0", b"X-Mailer: x", 1),
}


def _typed(value: bytes) -> Callable[[Shape], Shape]:
    return lambda shape: shape._replace(value=value)


BOUNDARIES: dict[str, Callable[[Shape], Shape]] = {
    "plain": lambda shape: shape,
    "unquoted": _typed(b"multipart/mixed; boundary=BB"),
    "no blank behind semicolon": _typed(b"multipart/mixed;boundary=BB;x=y"),
    "no semicolon": _typed(b"multipart/mixed boundary=BB"),
    "single quotes": _typed(b"multipart/mixed; boundary='BB'"),
    "quote not closed": _typed(b'multipart/mixed; boundary="BB'),
    "blanks around equals": _typed(b'multipart/mixed; boundary = "BB"'),
    "comment in parameter": _typed(b'multipart/mixed; (x) boundary(c)="BB"'),
    "quoted type": _typed(b'"multipart/mixed"; boundary=BB'),
    "blank in type": _typed(b"multipart / mixed; boundary=BB"),
    "type without subtype": _typed(b"multipart; boundary=BB"),
    "upper case": _typed(b"MULTIPART/MIXED; BOUNDARY=BB"),
    "unknown subtype": _typed(b"multipart/nobody-knows; boundary=BB"),
    "continued": _typed(b'multipart/mixed; boundary*0="B"; boundary*1="B"'),
    "continued out of order": _typed(b"multipart/mixed; boundary*1=B; boundary*0*=utf-8''%42"),
    "with charset": _typed(b"multipart/mixed; boundary*=us-ascii'en'BB"),
    "two, first holds": _typed(b"multipart/mixed; boundary=BB; boundary=CC"),
    "two, last holds": _typed(b"multipart/mixed; boundary=CC; boundary=BB"),
    "in text": _typed(b"text/html; boundary=BB"),
    "in text without parameter": _typed(b"text/plain"),
    "missing": _typed(b"multipart/mixed"),
    "empty": _typed(b'multipart/mixed; boundary=""'),
    "other": _typed(b"multipart/mixed; boundary=CC"),
    "another prefix": _typed(b"multipart/mixed; boundary=B"),
    "with blanks": lambda shape: shape._replace(value=b'multipart/mixed; boundary="B B "', boundary=b"B B"),
    "of signs": lambda shape: shape._replace(
        value=b'multipart/mixed; boundary="=_(x)?;/:+\'"', boundary=b"=_(x)?;/:+'"
    ),
    "junk behind": lambda shape: shape._replace(junk=b" junk"),
    "glued junk behind": lambda shape: shape._replace(junk=b"junk"),
    "blanks behind": lambda shape: shape._replace(junk=b" \t "),
    "closed before": lambda shape: shape._replace(junk=b"--"),
    "not closed": lambda shape: shape._replace(close=[]),
    "closed by another": lambda shape: shape._replace(close=[b"--XX--", b"the end"]),
    "two types, text first": _typed(b"text/plain\nContent-Type: multipart/mixed; boundary=BB"),
    "two types, text last": _typed(b"multipart/mixed; boundary=BB\nContent-Type: text/plain"),
    "digest": _typed(b"multipart/alternative; boundary=BB"),
    "garbage type": _typed(b";;; boundary=BB"),
    "long parameter": _typed(b"multipart/mixed; x=" + LONG * 5 + b"; boundary=BB"),
    "many parameters": _typed(b"multipart/mixed" + b";a=b" * 500 + b";boundary=BB"),
    "escaped": _typed(b'multipart/mixed; boundary="\\B\\B"'),
    "in disposition": _typed(b"multipart/mixed\nContent-Disposition: inline; boundary=BB"),
}  # fmt: skip


def _lines(text: bytes, size: int) -> bytes:
    return b"\n".join(text[at : at + size] for at in range(0, len(text), size))


def uuencoded(cargo: bytes) -> bytes:
    """Lines of 45 bytes."""
    return b"".join(binascii.b2a_uu(cargo[at : at + 45]) for at in range(0, len(cargo), 45))


def _qp(cargo: bytes, pattern: bytes = b"=%02X") -> bytes:
    return b"".join(pattern % letter for letter in cargo)


def _soft(text: bytes, ends: bytes = b"=\n", size: int = 75) -> bytes:
    return _lines(text, size).replace(b"\n", ends)


def _encodings(cargo: bytes) -> dict[str, tuple[bytes, bytes]]:
    """Bodies by the name of what is wrong with them: the encoding's name, and the text."""
    letters = base64.b64encode(cargo)
    lines = _lines(letters, 76)
    uu, qp = uuencoded(cargo), _qp(cargo)
    return {
        "base64": (b"base64", lines),
        "one line": (b"base64", letters),
        "lines of three": (b"base64", _lines(letters, 3)),
        "no padding": (b"base64", _lines(letters.rstrip(b"="), 76)),
        "too much padding": (b"base64", _lines(letters + b"====", 76)),
        "padding in the middle": (b"base64", base64.b64encode(b"x") + b"\n" + lines),
        "stray equals sign": (b"base64", letters[:37] + b"=" + letters[37:]),
        "blanks": (b"base64", _lines(letters, 40).replace(b"M", b" M\t")),
        "junk letters": (b"base64", _lines(letters.replace(b"M", b"!*M.-", 5), 76)),
        "line of junk": (b"base64", b"this line is no base64 at all, it has 1 comma\n" + lines),
        "empty lines": (b"base64", b"\n\n" + lines.replace(b"\n", b"\n\n") + b"\n\n"),
        "text behind": (b"base64", lines + b"\n\n-- \nsent from my toaster"),
        "upper case name": (b"BASE64", lines),
        "misspelt name": (b"base-64", lines),
        "unknown name": (b"x-nobody", lines),
        "quoted-printable": (b"quoted-printable", _soft(qp)),
        "small letters": (b"quoted-printable", _soft(_qp(cargo, b"=%02x"))),
        "blanks behind soft breaks": (b"quoted-printable", _soft(qp, b"= \t\n", 72)),
        "damaged escapes": (b"quoted-printable", b"=ZZ=4=\n" + _soft(qp) + b"="),
        "misspelt quoted": (b"quoted-printible", _soft(qp)),
        "uuencode": (b"x-uuencode", b"begin 644 a.js\n" + uu + b"`\nend\n"),
        "uuencode unnamed": (b"7bit", b"hello\n\nbegin 0644 a b.js\n" + uu + b"`\nend\n"),
        "uuencode not ended": (b"uuencode", b"begin 644 a.js\n" + uu),
        "plain": (b"8bit", cargo),
    }


ENCODINGS = tuple(_encodings(b"x"))


def _with_ends(ends: bytes) -> Callable[[bytes], bytes]:
    return lambda mail: mail.replace(b"\n", ends)


def _mixed(mail: bytes) -> bytes:
    ends = (b"\r\n", b"\n", b"\r\n", b"\r\r\n")
    lines = mail.split(b"\n")
    return b"".join(line + ends[n % 4] for n, line in enumerate(lines))


ENDS: dict[str, Callable[[bytes], bytes]] = {
    "CRLF": _with_ends(b"\r\n"),
    "LF": lambda mail: mail,
    "CR": _with_ends(b"\r"),
    "CRCRLF": _with_ends(b"\r\r\n"),
    "mixed": _mixed,
}


def variant(
    root: str, header: str, boundary: str, encoding: str, ends: str, *, cargo: bytes = MARKER + b"x"
) -> bytes:
    """A mail of these names with the marker in its second part, by that encoding."""
    name, body = _encodings(cargo)[encoding]
    plain = Shape([], _part(name), b"BB", b'multipart/mixed; boundary="BB"', [b"--BB--"])
    shape = BOUNDARIES[boundary](plain)
    change = HEADERS[header]
    close = shape.close if shape.boundary == b"BB" else [b"--" + shape.boundary + b"--"]
    lines = [
        *change(_root(shape.value)), b"",
        b"--" + shape.boundary + shape.junk, b"Content-Type: text/plain", b"", b"hello", b"",
        b"--" + shape.boundary + shape.junk, *change(shape.part), b"", body, b"",
        *close, b"",
    ]  # fmt: skip
    return ROOTS[root](ENDS[ends](b"\n".join(lines)))
