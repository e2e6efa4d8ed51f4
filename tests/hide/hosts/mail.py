"""Mails: each flaw of `tests/mail_variants.py`, and the other places that mail programs open."""

from __future__ import annotations

import base64
import struct
from functools import partial

from tests.hide.matrix import place
from tests.mail_variants import BOUNDARIES, ENCODINGS, HEADERS, ROOTS, variant
from tests.office_files import compound

_PLAIN = ("plain", "plain", "plain", "base64", "CRLF")
_HEAD = b"From: a@b.example\r\nTo: c@d.example\r\nSubject: x\r\nMIME-Version: 1.0\r\n"


def _flawed(names: tuple[str, str, str, str, str], cargo: bytes) -> bytes:
    return variant(*names, cargo=cargo)


for _axis, _names in enumerate((ROOTS, HEADERS, BOUNDARIES, ENCODINGS)):
    for _name in _names:
        if _name != "plain":  # bytes with line ends of their own are no mail's text
            _row = (*_PLAIN[:_axis], _name, *_PLAIN[_axis + 1 :])
            place("eml", ("start", "header", "boundary", "encoding")[_axis] + ": " + _name)(
                partial(_flawed, (_row[0], _row[1], _row[2], _row[3], _row[4]))
            )


def _encoded(cargo: bytes) -> bytes:
    return base64.encodebytes(cargo).replace(b"\n", b"\r\n")


def _parts(*parts: bytes, kind: bytes = b"mixed") -> bytes:
    inner = b"".join(b"--B\r\n" + part + b"\r\n" for part in parts)
    return _HEAD + b"Content-Type: multipart/" + kind + b"; boundary=B\r\n\r\n" + inner + b"--B--\r\n"


def _file(cargo: bytes, kind: bytes = b"application/octet-stream") -> bytes:
    return b"Content-Type: " + kind + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + _encoded(cargo)


_TEXT = b"Content-Type: text/plain\r\n\r\nhello"


@place("eml", "preamble")
def _preamble(cargo: bytes) -> bytes:
    mail = _parts(_TEXT)
    return mail.replace(b"--B", _file(cargo) + b"\r\n--B", 1)


@place("eml", "epilogue")
def _epilogue(cargo: bytes) -> bytes:
    return _parts(_TEXT) + cargo


@place("eml", "part behind the end")
def _behind(cargo: bytes) -> bytes:
    return _parts(_TEXT) + b"--B\r\n" + _file(cargo)


@place("eml", "message in base64")
def _message(cargo: bytes) -> bytes:
    return _parts(_file(_parts(_file(cargo)), b"message/rfc822"))


@place("eml", "multipart in base64")
def _multipart(cargo: bytes) -> bytes:
    inner = b"--C\r\n" + _file(cargo) + b"\r\n--C--\r\n"
    return _parts(_file(inner, b"multipart/mixed; boundary=C"))


@place("eml", "message nested ten deep")
def _nested(cargo: bytes) -> bytes:
    mail = _parts(_file(cargo))
    for _ in range(5):
        mail = _parts(b"Content-Type: message/rfc822\r\n\r\n" + mail)
    return mail


@place("eml", "three types at once")
def _types(cargo: bytes) -> bytes:
    types = b"Content-Type: text/plain\r\nContent-Type: multipart/mixed; boundary=C\r\n"
    return _parts(_TEXT, _file(cargo)).replace(b"MIME-Version", types + b"MIME-Version")


@place("eml", "quoted in a bounce")
def _bounce(cargo: bytes) -> bytes:
    return _HEAD + b"\r\nYour message was not delivered:\r\n\r\n" + _parts(_file(cargo))


@place("eml", "S/MIME, signed")
def _signed(cargo: bytes) -> bytes:
    return _parts(_file(_opaque(_parts(_file(cargo))), b"application/pkcs7-mime"))


@place("cms", "content", name="a.p7m")
def _opaque(cargo: bytes) -> bytes:
    def tlv(tag: int, *parts: bytes) -> bytes:
        body = b"".join(parts)
        return bytes((tag, 0x84)) + len(body).to_bytes(4, "big") + body

    pkcs7 = bytes.fromhex("2a864886f70d0107")
    inside = tlv(0x30, b"\x06\x09" + pkcs7 + b"\1", tlv(0xA0, tlv(4, cargo)))
    return tlv(
        0x30, b"\x06\x09" + pkcs7 + b"\2", tlv(0xA0, tlv(0x30, tlv(2, b"\1"), tlv(0x31), inside, tlv(0x31)))
    )


@place("cms", "behind the message", name="a.p7s")
def _behind_message(cargo: bytes) -> bytes:
    return _opaque(b"hello") + cargo


@place("ics", "ATTACH", name="a.ics")
def _attach(cargo: bytes) -> bytes:
    line = b"ATTACH;VALUE=BINARY;ENCODING=BASE64:" + base64.b64encode(cargo)
    folded = b"\r\n ".join(line[at : at + 74] for at in range(0, len(line), 74))
    return b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n" + folded + b"\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"


@place("vcard", "PHOTO", name="a.vcf")
def _photo(cargo: bytes) -> bytes:
    photo = b"PHOTO;ENCODING=BASE64;TYPE=JPEG:\r\n " + _encoded(cargo).replace(b"\r\n", b"\r\n ")
    return b"BEGIN:VCARD\r\nVERSION:2.1\r\n" + photo + b"\r\nEND:VCARD\r\n"


def _lzfu(cargo: bytes) -> bytes:
    rtf = b"{\\rtf1{\\object{\\*\\objdata " + cargo.hex().encode() + b"}}}"
    return struct.pack("<IIII", len(rtf) + 12, len(rtf), 0x414C454D, 0) + rtf


_MSG = {"__properties_version1.0": bytes(32)}
_ATTACHMENT = "__attach_version1.0_#00000000/"


@place("msg", "attachment", name="a.msg")
def _attachment(cargo: bytes) -> bytes:
    files = {_ATTACHMENT + "__properties_version1.0": bytes(8), _ATTACHMENT + "__substg1.0_37010102": cargo}
    return compound(_MSG | files)


@place("msg", "RTF body", name="a.msg")
def _rtf_body(cargo: bytes) -> bytes:
    return compound(_MSG | {"__substg1.0_10090102": _lzfu(cargo)})


@place("tnef", "attachment", name="winmail.dat")
def _winmail(cargo: bytes) -> bytes:
    def attribute(number: int, data: bytes, level: int = 2) -> bytes:
        return struct.pack("<BII", level, number, len(data)) + data + struct.pack("<H", sum(data) & 0xFFFF)

    return b"\x78\x9f\x3e\x22\1\0" + attribute(0x69002, bytes(14)) + attribute(0x6800F, cargo)


@place("tnef", "unknown attribute", name="winmail.dat")
def _unknown(cargo: bytes) -> bytes:
    made = struct.pack("<BII", 1, 0x6_8123, len(cargo)) + cargo + struct.pack("<H", sum(cargo) & 0xFFFF)
    return b"\x78\x9f\x3e\x22\1\0" + made
