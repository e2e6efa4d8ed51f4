"""PDF built by hand: streams, object streams, and encoders for the filters that Python has none for."""

from __future__ import annotations

import zlib
from typing import Any

from plugins._formats.pdf.parts import STREAMS_MARK
from plugins.workers.pdf import Pdf
from stoq_core.testing import Ran, make, run

HEAD = b"%PDF-1.7\n"
TEXT = b"BT (what the page says) Tj ET " * 30
FLATE = zlib.compress(TEXT)
OPENS = b"2 0 obj<</OpenAction 100 0 R>>endobj\n"
SCRIPT = b"<</S/JavaScript/JS(x\\(\\))>>"
LAUNCH = b"<</S/Launch/F(cmd.exe)>>"


def scan(content: bytes, **job: Any) -> Ran:
    """Run the worker."""
    return run(make(Pdf), content, **job)


def result(ran: Ran) -> dict[str, Any]:
    """Its result."""
    assert ran.result is not None
    return ran.result


def stream(data: bytes, words: bytes = b"/Filter/FlateDecode", number: int = 1) -> bytes:
    """A stream object around bytes that are encoded already."""
    said = b"%d 0 obj\n<<%s/Length %d>>\nstream\n" % (number, words, len(data))
    return said + data + b"\nendstream\nendobj\n"


def packed(*objects: bytes, number: int = 90) -> bytes:
    """An object stream of objects 100, 101 and so on."""
    places, body = [], b""
    for n, one in enumerate(objects, 100):
        places.append(b"%d %d" % (n, len(body)))
        body += one + b" "
    head = b" ".join(places) + b"\n"
    words = b"/Type/ObjStm/N %d/First %d/Filter/FlateDecode" % (len(objects), len(head))
    return stream(zlib.compress(head + body), words, number)


def only(content: bytes, **job: Any) -> bytes:
    """The one child called `streams`, which is there and complete."""
    ran = scan(HEAD + content, **job)
    assert not ran.reasons
    return ran.contents["streams"].removeprefix(STREAMS_MARK)


def run_length(data: bytes) -> bytes:
    """As RunLengthDecode wants it: runs that repeat, and a last one to copy."""
    pairs = b"".join(bytes((257 - 5,)) + data[n : n + 1] for n in range(0, 20, 5))
    return pairs + bytes((len(data[20:140]) - 1,)) + data[20:140] + b"\x80"


def lzw(data: bytes, early: int = 1) -> bytes:
    """A plain LZW encoder with the highest bit first, as the standard describes it."""
    table: dict[bytes, int] = {}
    bits, out, word, size = 9, "", b"", 258
    out += format(256, "09b")
    for n in range(len(data)):
        longer = word + data[n : n + 1]
        if len(longer) == 1 or longer in table:
            word = longer
            continue
        out += format(table.get(word, word[0]), f"0{bits}b")
        table[longer] = size
        size += 1
        if size - 1 + early >= 1 << bits:
            bits = min(12, bits + 1)
        if size > 4000:
            out += format(256, f"0{bits}b")
            table, bits, size = {}, 9, 258
        word = longer[-1:]
    out += format(table.get(word, word[0]), f"0{bits}b")
    size += 1
    bits = min(12, bits + 1) if size - 1 + early >= 1 << bits else bits
    out += format(257, f"0{bits}b")
    return int(out + "0" * (-len(out) % 8), 2).to_bytes((len(out) + 7) // 8, "big")
