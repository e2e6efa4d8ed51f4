"""Sixty small files for one table: what a scanner meets and what was made to break it, all harmless."""

from __future__ import annotations

import base64
import bz2
import io
import lzma
import random
import tarfile
import zipfile
from collections.abc import Callable
from email.message import EmailMessage
from typing import NamedTuple

import py7zr

from handlers.local.samples import bomb, eicar, encrypted_zip, nested_eicar, tar_gz, zipped
from tests import binaries, office_files
from tests.plugins.workers import archive_makers

PASSWORD = "infected"
MACRO = {"Module1": 'Sub AutoOpen()\r\nShell "cmd /c calc", 0\r\nEnd Sub\r\n'}
PLAIN_MACRO = {"Module1": 'Sub Add()\r\nMsgBox "1 + 1"\r\nEnd Sub\r\n'}
TWO = {"a.txt": b"the first member\n" * 9, "b.com": eicar()}


UNKNOWN = ("unknown_type",)
DAMAGED = ("corrupt", *UNKNOWN)
"""Why noise is not clean: nobody can say what it is."""


class Row(NamedTuple):
    """A file, and what of its document is known beforehand."""

    name: str
    made: Callable[[], bytes]
    verdict: str
    payloads: int
    """In its document: itself and all that comes out of it."""
    reasons: tuple[str, ...] = ()
    """Why not all of it was read, sorted."""


def _seven_zip(password: str | None = None) -> bytes:
    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w", password=password) as made:
        for name, content in TWO.items():
            made.writestr(content, name)
    return out.getvalue()


def _tar(**members: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    return out.getvalue()


def _ar() -> bytes:
    out = b"!<arch>\n"
    for name, content in TWO.items():
        out += f"{name + '/':<16}{0:<12}{0:<6}{0:<6}{'644':<8}{len(content):<10}`\n".encode() + content
        out += b"\n" * (len(content) & 1)
    return out


def _zip(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members:
            made.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), content)
    return out.getvalue()


def _flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


def _layers(content: bytes, number: int) -> bytes:
    for _ in range(number):
        content = archive_makers.gz(content)
    return content


def _mail(*attached: tuple[str, bytes], html: str = "") -> bytes:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "a@example.com", "b@example.com", "Rechnung für März"
    made["Message-ID"], made["Date"] = "<1@example.com>", "Mon, 01 Jan 2024 00:00:00 +0000"
    made.set_content("See what is attached.\n")
    if html:
        made.add_alternative(html, subtype="html")
    for name, content in attached:
        made.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)
    return made.as_bytes()


def _mail_in_mail() -> bytes:
    outer, inner = EmailMessage(), EmailMessage()
    inner["Subject"] = "inner"
    inner.set_content("text of the inner one\n")
    inner.add_attachment(eicar(), maintype="application", subtype="octet-stream", filename="e.com")
    outer["From"], outer["To"], outer["Subject"] = "a@example.com", "b@example.com", "Fwd: inner"
    outer.set_content("as attached\n")
    outer.add_attachment(inner)
    return outer.as_bytes()


def _noise(size: int) -> bytes:
    return random.Random(4).randbytes(size)


def _xdp() -> bytes:
    inner = base64.encodebytes(b"%PDF-1.4\n" + bytes(range(256)) * 12)
    return (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<xdp:xdp xmlns:xdp="http://ns.adobe.com/xdp/">'
        b'<pdf xmlns="http://ns.adobe.com/xdp/pdf/"><document><chunk>'
        + inner
        + b"</chunk></document></pdf></xdp:xdp>"
    )


def _word(macros: dict[str, str]) -> bytes:
    project = office_files.compound(office_files.vba_project(macros, root="VBA"))
    return office_files.ooxml(word__document=b"<w:document/>", word__vbaProject_bin=project)


def _ole() -> bytes:
    native = office_files.ole10_native("e.com", eicar())
    return office_files.compound(
        {"WordDocument": b"\xec\xa5\xc1\0" + bytes(4200), "Pool/\1Ole10Native": native}
    )


ROWS = [
    # nothing, and text of many kinds and with odd names
    Row("empty", bytes, "clean", 1),
    Row("a b+c.txt", lambda: b"plain text\n" * 20, "clean", 1),
    Row("100%.txt", lambda: "zwei Zeilen\r\nÄÖÜ\r\n".encode("latin-1"), "clean", 1),
    Row("%2B%20.txt", lambda: "UTF-16, too\n".encode("utf-16"), "clean", 1),
    Row("コード ünï.csv", lambda: b"a,b\n1,2\n" * 40, "clean", 1),
    Row("quote'\".json", lambda: b'{"a": [1, 2, {"b": null}]}', "clean", 1),
    Row("semi;colon.xml", lambda: b'<?xml version="1.0"?><a><b>c</b></a>', "clean", 1),
    Row("a&b=c.html", lambda: b"<html><script>eval(unescape('%61'))</script></html>", "clean", 1),
    Row("emoji-😀.ps1", lambda: b"powershell -enc " + base64.b64encode("ls".encode("utf-16-le")), "clean", 1),
    Row("<&>]]>.svg", lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><g>1</g></svg>', "clean", 1),
    Row("{brace}^`|.eml.txt", lambda: b"From: nobody\n", "clean", 1),
    Row("?query=1#part.bin", lambda: bytes(100_000), "clean", 1),
    Row("new\tline.bin", lambda: _noise(20_000), "incomplete", 1, UNKNOWN),
    Row("x" * 240, lambda: b"\x00\x01\x02", "clean", 1),
    Row("base64.txt", lambda: base64.encodebytes(binaries.pe()), "suspicious", 2),
    # what is malicious, at the top and far below
    Row("eicar.com", eicar, "malicious", 1),
    Row("nested.zip", nested_eicar, "malicious", 5),
    Row("twice.zip", lambda: _zip(("a/e.com", eicar()), ("b/e.com", eicar())), "malicious", 2),
    # archives
    Row("one.gz", lambda: archive_makers.gz(b"one member\n"), "clean", 2),
    Row("joined.gz", lambda: archive_makers.gz(b"one\n") + archive_makers.gz(b"two\n"), "clean", 4),
    Row("one.bz2", lambda: bz2.compress(b"one member\n"), "clean", 2),
    Row("one.xz", lambda: lzma.compress(b"one member\n"), "clean", 2),
    Row("one.Z", lambda: archive_makers.compress_z(b"abc" * 90), "clean", 2),
    Row("two.tar", lambda: _tar(a=b"first", b=b"second"), "clean", 3),
    Row("one.tar.gz", lambda: tar_gz("a", b"first"), "clean", 3),
    Row("two.ar", _ar, "malicious", 3),
    Row("two.cpio", lambda: archive_makers.cpio(TWO), "malicious", 3),
    Row("two.cab", lambda: archive_makers.cab(TWO, mszip=True), "malicious", 3),
    Row("two.arj", lambda: archive_makers.arj(TWO), "malicious", 3),
    Row("two.lzh", lambda: archive_makers.lzh(TWO), "malicious", 3),
    Row("two.xar", lambda: archive_makers.xar(TWO), "malicious", 4),
    Row("one.rpm", lambda: archive_makers.rpm(archive_makers.gz(archive_makers.cpio(TWO))), "malicious", 4),
    Row("disk.vhd", lambda: archive_makers.vhd(archive_makers.mbr(_noise(4096))), "incomplete", 3, UNKNOWN),
    Row("image.dmg", lambda: archive_makers.dmg(_noise(8192)), "incomplete", 2, UNKNOWN),
    Row("evil-names.zip", lambda: _zip(("../../etc/passwd", b"1"), ("C:\\a\x1b[2J", b"2")), "clean", 4),
    Row("many.zip", lambda: _zip(*((f"{n}.txt", b"%d" % n) for n in range(60))), "clean", 61),
    Row("before.zip", lambda: _noise(3_000) + zipped(a__txt=b"after the noise"), "incomplete", 3, UNKNOWN),
    Row("behind.zip", lambda: zipped(a__txt=b"before the tail") + eicar() * 9, "clean", 3),
    Row("two.7z", _seven_zip, "malicious", 3),
    Row("known-password.7z", lambda: _seven_zip(PASSWORD), "malicious", 3),
    # archives made to break something
    Row("encrypted.zip", encrypted_zip, "incomplete", 1, ("encrypted_archive",)),
    Row("encrypted.7z", lambda: _seven_zip("nobody knows"), "incomplete", 1, ("encrypted_archive",)),
    Row("bomb.zip", lambda: bomb(80), "incomplete", 2, ("ratio",)),
    Row("deep.gz", lambda: _layers(b"at the bottom", 13), "incomplete", 12, ("too_deep",)),
    Row("truncated.zip", lambda: nested_eicar()[:-40], "malicious", 6, ("truncated",)),
    Row("corrupt.gz", lambda: _flipped(archive_makers.gz(_noise(999)), 500), "incomplete", 2, DAMAGED),
    # documents
    Row("macro.doc", lambda: office_files.document(MACRO), "suspicious", 7),
    Row("plain-macro.doc", lambda: office_files.document(PLAIN_MACRO), "clean", 7),
    Row("truncated.doc", lambda: office_files.document(MACRO)[:3_000], "incomplete", 1, ("truncated",)),
    Row("macro.docm", lambda: _word(MACRO), "suspicious", 9),
    Row("object.doc", _ole, "malicious", 3),
    Row("plain.rtf", office_files.rtf, "clean", 1),
    Row("package.rtf", lambda: office_files.rtf(
        office_files.ole1_object(b"Package", office_files.package("e.com", eicar()))), "malicious", 2),
    Row("xdp.pdf", _xdp, "incomplete", 3, UNKNOWN),
    # mails
    Row("attached.eml", lambda: _mail(("ä b.zip", nested_eicar()), html="<b>x</b>"), "malicious", 9),
    Row("forwarded.eml", _mail_in_mail, "malicious", 5),
    Row("truncated.eml", lambda: _mail(("n.bin", _noise(900)))[:-300], "incomplete", 4, UNKNOWN),
    # programs
    Row("program.exe", binaries.pe, "clean", 1),
    Row("cut.exe", lambda: binaries.pe()[:700], "clean", 2),
    Row("a.class", lambda: binaries.java_class([binaries.utf8(b"java/lang/Runtime")], bytes(14)), "clean", 1),
]  # fmt: skip
assert len({row.name for row in ROWS}) == len(ROWS) == 60
