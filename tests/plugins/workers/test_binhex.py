"""BinHex 4.0: both forks, runs, damage, and a bomb."""

from __future__ import annotations

import binascii
import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from plugins._formats.mail.binhex import _LETTERS, MARK
from plugins.workers.binhex import Binhex
from stoq_core.limits import RequestLimits
from stoq_core.testing import Ran, make, run
from tests import samples


def text(plain: bytes) -> bytes:
    """Bytes with runs undone, as letters in lines."""
    escaped = plain.replace(b"\x90", b"\x90\0")
    base = binascii.b2a_base64(escaped, newline=False).rstrip(b"=")
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    letters = base.translate(bytes.maketrans(alphabet, _LETTERS))
    lines = b"\r\n".join(letters[at : at + 64] for at in range(0, len(letters), 64))
    return MARK + b" 4.0)\r\n\r\n:" + lines + b":\r\n"


def file(name: bytes, data: bytes, resource: bytes = b"", *, flaw: int = 0) -> bytes:
    """A file's header, forks and checksums."""
    head = bytes((len(name),)) + name + b"\0TEXTttxt\0\0" + struct.pack(">II", len(data), len(resource))
    made = head + struct.pack(">H", binascii.crc_hqx(head, 0))
    made += data + struct.pack(">H", binascii.crc_hqx(data, 0) ^ flaw)
    return made + resource + struct.pack(">H", binascii.crc_hqx(resource, 0))


def scan(content: bytes, **job: object) -> Ran:
    """Run the worker."""
    return run(make(Binhex), content, **job)


def test_both_forks_come_out() -> None:
    """Data and resources, 0x90 among them; the mark and the letters leave nothing over."""
    ran = scan(text(file(b"a.js", b"WScript.Echo \x90 1" * 9, b"resources")))
    assert ran.contents == {"a.js": b"WScript.Echo \x90 1" * 9, "a.js.rsrc": b"resources"}
    assert ran.reasons == set()
    assert ran.result == {"files": ["a.js"], "kinds": ["TEXTttxt"]}


def test_files_in_a_text() -> None:
    """Words before, between and behind are what the account makes of them."""
    both = (
        b"Dear all, see below\r\n"
        + text(file(b"a", b"first file"))
        + b"and\r\n"
        + text(file(b"b", b"second file"))
    )
    ran = scan(both + b"Yours sincerely")
    assert ran.contents["a"] == b"first file"
    assert ran.contents["b"] == b"second file"
    assert ran.contents["lead"] == b"Dear all, see below\r\n"


def test_damage_is_named() -> None:
    """A wrong checksum, a cut text or no text at all: what there is is scanned, with a reason."""
    assert scan(text(file(b"a", b"content", flaw=1))).reasons == {"corrupt"}
    cut = scan(text(file(b"a", b"content " * 50))[:200])
    assert cut.reasons == {"corrupt"}
    assert cut.contents["a"].startswith(b"content ")
    assert scan(MARK + b" 4.0)").reasons == {"corrupt"}


def test_runs_are_no_bomb() -> None:
    """Runs of runs stop at the limit."""
    letters = text(b"\0" * 4)[: len(MARK) + 10] + b"\r\n:" + b"!" * 4 + b"T2c" * 100_000 + b":"
    ran = scan(letters, limits=RequestLimits(payload_bytes=100_000))
    assert sum(one.body.size for one in ran.children) <= 100_000


def test_a_real_file() -> None:
    """Clamav's program."""
    assert len(scan(samples.content("clamav", "clam.exe.binhex")).contents["clam.exe"]) == 544


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=60))
def test_any_bytes(plain: bytes, behind: bytes) -> None:
    """Arbitrary files end in children or a reason."""
    scan(text(plain) + behind)
    scan(MARK + b"\r\n:" + plain)
