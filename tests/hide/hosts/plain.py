"""Bytes of no format: cargo at odd offsets, behind zeros and decoys, several pieces in a row."""

from __future__ import annotations

import gzip
import random

from tests.hide.matrix import Put, place

_NOISE = random.Random(11).randbytes(9_000)


def _behind(lead: bytes, tail: bytes = b"") -> Put:
    return lambda cargo: lead + cargo + tail


for _at in (1, 2, 6, 63, 511, 512, 513, 4096, 8191):
    place("noise", f"at {_at}")(_behind(_NOISE[:_at]))
    place("noise", f"at {_at}, more behind")(_behind(_NOISE[:_at], _NOISE[:700]))
for _at in (7, 512, 2048, 32_768, 70_000):
    place("zeros", f"behind {_at}")(_behind(bytes(_at)))
    place("ones", f"behind {_at}")(_behind(b"\xff" * _at))
    place("zeros", f"behind {_at}, zeros behind")(_behind(bytes(_at), bytes(80_000)))
_DECOYS = (
    b"PK\x03\x04", b"MZ", b"\x7fELF", b"%PDF-1.7\n", b"Rar!\x1a\x07\x00", b"7z\xbc\xaf'\x1c",
    b"\x1f\x8b\x08\x00", b"BZh91AY&SY", b"\xfd7zXZ\x00", b"(\xb5/\xfd", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    b"MSCF\x00\x00\x00\x00", b"{\\rtf1 ", b"ustar", b"<html>", b"From: a@b.example\r\n",
    b"\x89PNG\r\n\x1a\n", b"!<arch>\n", b"070701", b"\xca\xfe\xba\xbe", b"GIF89a", b"\xff\xd8\xff\xe0",
    b"OggS", b"ID3\x03", b"RIFF", b"xar!", b"hsqs", b"`\xea", b"FWS\x05", b"CWS\x05", b"#!/bin/sh\n",
    b"<?xml version='1.0'?>", b"ITSF", b"L\x00\x00\x00\x01\x14\x02\x00", b'x\x9f>"',
    b"\x00asm\x01\x00\x00\x00", b"dex\n035\x00",
)  # fmt: skip
for _mark in _DECOYS:
    place("decoy mark", repr(_mark)[2:-1])(_behind(_mark + bytes(16) + b"junk "))


@place("pieces", "behind fifty others")
def _many(cargo: bytes) -> bytes:
    return b"".join(gzip.compress(b"%d" % n) + b"--" for n in range(50)) + cargo


@place("pieces", "behind ten thousand false marks")
def _false_marks(cargo: bytes) -> bytes:
    return b"PK\3\4 MZ 7z\xbc\xaf Rar! \x1f\x8b \x78\x9c MSCF BZh9 " * 2_500 + cargo


@place("text", "behind a script")
def _script(cargo: bytes) -> bytes:
    return b"#!/bin/sh\ntail -n +4 $0 | gunzip\nexit 0\n" + cargo


@place("text", "behind a batch file's end")
def _batch(cargo: bytes) -> bytes:
    return b"@echo off\r\necho hello\r\ngoto :eof\r\n\x1a" + cargo


@place("text", "behind an HTML page")
def _page(cargo: bytes) -> bytes:
    return b"<html><body>hello</body></html>\n" * 200 + cargo
