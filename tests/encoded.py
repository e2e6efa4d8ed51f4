"""Bytes written as text in every way that `decode` reads, and scripts of many languages around them."""

from __future__ import annotations

import base64
import binascii
import gzip
import zlib
from collections.abc import Callable

_XX = b"+-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _listed(form: str, between: str) -> Callable[[bytes], bytes]:
    return lambda data: between.join(form % byte for byte in data).encode()


def _uu(data: bytes) -> bytes:
    lines = (binascii.b2a_uu(data[at : at + 45]) for at in range(0, len(data), 45))
    return b"\nbegin 644 a.bin\n" + b"".join(lines) + b"`\nend\n"


def _xx(data: bytes) -> bytes:
    lines = _uu(data).split(b"\n")[2:-3]
    table = bytes.maketrans(bytes(range(32, 96)) + b"`", _XX + _XX[:1])
    return b"\nbegin 644 a.bin\n" + b"".join(line.translate(table) + b"\n" for line in lines) + b"+\nend\n"


def _yenc(data: bytes) -> bytes:
    made = bytearray()
    for byte in data:
        letter = (byte + 42) & 0xFF
        made += bytes((0x3D, (letter + 64) & 0xFF)) if letter in (0, 10, 13, 0x3D) else bytes((letter,))
    return (
        b"=ybegin line=128 size=%d name=a.bin\r\n" % len(data)
        + bytes(made)
        + b"\r\n=yend size=%d\r\n" % len(data)
    )


def _git(data: bytes) -> bytes:
    packed = zlib.compress(data)
    lines = []
    for at in range(0, len(packed), 52):
        part = packed[at : at + 52]
        size = bytes((len(part) + (64 if len(part) <= 26 else 70),))
        lines.append(size + base64.b85encode(part, pad=True))
    return b"\nGIT binary patch\nliteral %d\n" % len(data) + b"\n".join(lines) + b"\n\n"


def _z85(data: bytes) -> bytes:
    z85 = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
    b85 = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
    padded = data + b"\n" * (-len(data) % 4)
    return b'decode85("' + base64.b85encode(padded).translate(bytes.maketrans(b85, z85)) + b'")'


def _deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def _in_lines(text: bytes, size: int, end: bytes = b"\n") -> bytes:
    return end.join(text[at : at + size] for at in range(0, len(text), size))


def _xored(data: bytes, key: int) -> bytes:
    return bytes(byte ^ key for byte in data)


b64 = base64.b64encode

ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "base64": b64,
    "base64 url-safe": base64.urlsafe_b64encode,
    "base64 without padding": lambda data: b64(data).rstrip(b"="),
    "base64 in lines": base64.encodebytes,
    "base64 in short lines": lambda data: _in_lines(b64(data), 16),
    "base64 in CRLF lines, indented": lambda data: _in_lines(b64(data), 76, b"\r\n    "),
    "base64 with entities": lambda data: _in_lines(b64(data), 76, b"&#xA;"),
    "base64 with escapes": lambda data: _in_lines(b64(data), 60, b"\\r\\n"),
    "base64 with continued lines": lambda data: _in_lines(b64(data), 60, b"\\\n"),
    "base64 with escaped slashes": lambda data: b64(data).replace(b"/", b"\\/"),
    "base64 with a letter in front": lambda data: b"Q" + b64(data),
    "base64 reversed": lambda data: b64(data)[::-1],
    "base64 of UTF-16": lambda data: b64(data.decode("latin-1").encode("utf-16-le")),
    "base64 twice": lambda data: b64(b64(data)),
    "base64 of gzip, twice": lambda data: b64(b64(gzip.compress(data))),
    "base64 of zlib": lambda data: b64(zlib.compress(data)),
    "base64 of deflate": lambda data: b64(_deflated(data)),
    "PEM": lambda data: b"-----BEGIN X-----\n" + base64.encodebytes(data) + b"-----END X-----\n",
    "data URI": lambda data: b"data:text/plain;base64," + b64(data),
    "base32": base64.b32encode,
    "base85": lambda data: b'b85decode("' + base64.b85encode(data) + b'")',
    "ascii85": lambda data: base64.a85encode(data, adobe=True),
    "z85": _z85,
    "hex": lambda data: data.hex().encode(),
    "hex, large letters": lambda data: data.hex().upper().encode(),
    "hex in lines": lambda data: _in_lines(data.hex().encode(), 64),
    "hex with blanks": lambda data: data.hex(" ").encode(),
    "hex with dashes": lambda data: data.hex("-").encode(),
    "hex of the registry": lambda data: b"hex:" + _in_lines(data.hex(",").encode(), 75, b"\\\r\n  "),
    "hex dump": lambda data: b"\n".join(
        b"%08x: " % at + data[at : at + 16].hex(" ", 2).encode() + b"  text" for at in range(0, len(data), 16)
    ),
    "0x list": _listed("0x%02x", ","),
    "short 0x list": _listed("0x%x", ", "),
    "&H list": _listed("&H%02X", ","),
    "decimal list": _listed("%d", ","),
    "decimal list in lines": _listed("%d", ",\n  "),
    "list of strings": _listed("'%d'", ","),
    "list with blanks": _listed("%d", " "),
    "\\x escapes": _listed("\\x%02x", ""),
    "\\u escapes": _listed("\\u%04x", ""),
    "%u escapes": _listed("%%u%04x", ""),
    "octal escapes": _listed("\\%03o", ""),
    "percent": _listed("%%%02x", ""),
    "entities": _listed("&#%d;", ""),
    "entities in hex": _listed("&#x%x;", ""),
    "Chr": _listed("Chr(%d)", "&"),
    "ChrW in lines": _listed("ChrW(&H%x)", " & _\r\n  "),
    "[char]": _listed("[char]%d", "+"),
    "chr with dots": _listed("chr(%d)", "."),
    "fromCharCode": lambda data: b"String.fromCharCode(" + _listed("%d", ",")(data) + b")",
    "bytes with casts": _listed("(byte)0x%02x", ", "),
    "list under XOR": lambda data: _listed("%d", ",")(_xored(data, 0x5A)) + b"];b^0x5A",
    "hex under XOR": lambda data: _xored(data, 0x33).hex().encode() + b"' -bxor 0x33 '",
    "base64 under XOR": lambda data: b64(_xored(data, 0x77)) + b"' xor 119 '",
    "uuencode": _uu,
    "xxencode": _xx,
    "Git's patch": _git,
}
"""Each writes bytes as text; what stands around is that of `SCRIPTS`."""

SCRIPTS: dict[str, bytes] = {
    "JavaScript": b"var a = '%b';\neval(a);\n",
    "VBScript": b'Dim a\r\na = "%b"\r\nExecute a\r\n',
    "PowerShell": b"$a='%b'\r\niex $a\r\n",
    "batch": b"@echo off\r\nset a=%b\r\ncall x\r\n",
    "shell": b"#!/bin/sh\necho '%b' | x\n",
    "Python": b"import x\na = b'%b'\nexec(x(a))\n",
    "PHP": b"<?php $a = '%b'; eval(x($a)); ?>\n",
    "HTML": b"<html><body><script>x('%b')</script></body></html>",
    "XML": b'<?xml version="1.0"?><a><b c="1">%b</b></a>',
    "JSON": b'{"a": "%b", "b": [1, 2]}',
    "INI": b"[a]\nb=%b\nc=d\n",
    "CSV": b'1,a,"%b",b\n2,c,d,e\n',
    "nothing": b"%b",
}
"""Places for an encoded text."""


def pieces(text: bytes, size: int, between: bytes) -> bytes:
    """The text as literals of `size` letters."""
    return between.join(b'"%b"' % text[at : at + size] for at in range(0, len(text), size))


SPLITS: dict[str, tuple[int, bytes]] = {
    "plus": (30, b"+"),
    "plus and blanks": (7, b" + "),
    "ampersand and lines": (50, b" & _\r\n    "),
    "dots": (13, b" . "),
    "next lines": (40, b"\n    "),
    "plus on the next line": (11, b"\n  + "),
    "array": (20, b", "),
    "array in lines": (61, b",\n"),
    "added": (33, b";\r\na = a + "),
    "added with numbers": (48, b"\r\nx1 = x1 & "),
}
"""Sizes of literals, and what stands between them."""
