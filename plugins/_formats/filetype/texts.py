"""Types of text: told by how the text begins, whatever its byte order mark says of its encoding."""

from __future__ import annotations

import re

from plugins._formats.mail.recognise import begins_like_mail

from .types import FileType


def _text(
    mimetype: str, label: str, group: str, pattern: bytes, extension: str | None = None, flags: int = 0
) -> tuple[re.Pattern[bytes], FileType]:
    kind = FileType(mimetype, label, label if extension is None else extension, group)
    return re.compile(pattern, flags), kind


TEXT = FileType("text/plain", "txt", "txt", "text")
MAIL = FileType("message/rfc822", "eml", "eml", "mail")
TEXTS: tuple[tuple[re.Pattern[bytes], FileType], ...] = (
    _text("text/x-php", "php", "script", rb"\A\s*<\?php", flags=re.IGNORECASE),
    _text("text/x-shellscript", "shell", "script", rb"\A#!.{0,60}\b(?:ba|z|da|k)?sh\b", "sh"),
    _text("text/x-python", "python", "script", rb"\A#!.{0,60}python", "py"),
    _text("text/x-perl", "perl", "script", rb"\A#!.{0,60}perl", "pl"),
    _text(
        "text/html",
        "html",
        "text",
        rb"\A\s{0,64}(?:<!doctype\s+html|<html|<head|<body|<script)",
        flags=re.IGNORECASE,
    ),
    _text("image/svg+xml", "svg", "image", rb"\A\s{0,64}<svg[\s>]", flags=re.IGNORECASE),
    _text(
        "application/vnd.adobe.xdp+xml",
        "xdp",
        "document",
        rb"\A\s{0,64}<[?!A-Za-z][^\0]{0,3900}?ns\.adobe\.com/xdp/",
    ),
    _text(
        "application/mac-binhex40",
        "binhex",
        "archive",
        rb"\A\s{0,64}\(This file must be converted with BinHex",
        "hqx",
    ),
    _text("text/xml", "xml", "text", rb"\A\s{0,64}<\?xml"),
    _text("application/json", "json", "text", rb"\A\s{0,64}[\[{]\s*[\"\[{\]}0-9]"),
    _text(
        "application/pgp-encrypted",
        "pgp",
        "data",
        rb"\A[^\0]{0,2000}?-----BEGIN PGP MESSAGE-----",
        "asc",
        re.DOTALL,
    ),
    _text("application/x-ansible-vault", "vault", "data", rb"\A\$ANSIBLE_VAULT;", ""),
    _text("application/x-age-encrypted", "age", "data", rb"\A-----BEGIN AGE ENCRYPTED FILE-----"),
    _text("text/x-vmdk-descriptor", "vmdktext", "text", rb"\A# Disk DescriptorFile", "vmdk"),
    _text("text/calendar", "ics", "text", rb"\A\s{0,64}BEGIN:VCALENDAR", flags=re.IGNORECASE),
    _text("text/vcard", "vcard", "text", rb"\A\s{0,64}BEGIN:VCARD", "vcf", re.IGNORECASE),
    _text(
        "application/mbox",
        "mbox",
        "mail",
        rb"\A\s{0,64}From [^\r\n]{1,320}\d\d:\d\d[^\r\n]{1,60}(?:\r?\n|\r)(?:[\w-]{1,76}\s{0,9}:|>?From )",
    ),
)
_PGP = next(kind for _, kind in TEXTS if kind.label == "pgp")
_BINARY = bytes(set(range(32)) - {7, 8, 9, 10, 11, 12, 13, 27})


def by_text(head: bytes) -> FileType | None:
    """The type of text, or None for what is no text."""
    text = _as_text(head)
    if text is None:
        return None
    kind = next((kind for pattern, kind in TEXTS if pattern.match(text)), None)
    if kind in (None, _PGP) and begins_like_mail(text):
        return MAIL
    return kind or (TEXT if _legible(text) else None)


def _legible(text: bytes) -> bool:
    begin = text[:64]  # tells of most of what is none
    return len(begin.translate(None, _BINARY)) == len(begin) and len(text.translate(None, _BINARY)) == len(
        text
    )


def _as_text(head: bytes) -> bytes | None:
    """The text without its byte order mark as UTF-8, or None for what is no text.

    What begins with the mark of UTF-16 may yet be none: property sets of compound files begin so.
    """
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head.decode("utf-16", "replace").encode("utf-8", "replace")
    body = head.removeprefix(b"\xef\xbb\xbf")
    return body if _legible(body) else None
