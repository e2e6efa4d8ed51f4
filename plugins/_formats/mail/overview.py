"""What the headers of a message say, decoded: by name, and read out of them."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from plugins._formats.mail.fields import Field
from plugins._formats.mail.headers import Address, Authentication, Hop, addresses, authentication, hop, moment
from plugins._formats.mail.text import header_text, to_text

_FIELDS = {
    "from": "sender", "to": "to", "cc": "cc", "bcc": "bcc", "reply-to": "reply_to",
    "return-path": "return_path", "sender": "actual_sender", "delivered-to": "delivered_to",
}  # fmt: skip
_MAX_HEADERS, _HEADER_CHARS = 1_000, 256 * 1024
_MAX_FIELDS = 20_000
_LONG_WORD = re.compile(rb"[A-Za-z0-9+/_%=-]{48}")
"""What may be an encoding."""
_FOLD = re.compile(rb"[\r\n]+[ \t]*")
_VALUE_BYTES = 64 * 1024


class Overview(msgspec.Struct, kw_only=True):
    """`headers` by name in lower case, repeated ones as lists; the rest is read out of them."""

    headers: dict[str, Any]
    subject: str
    date: str | None
    addresses: dict[str, list[Address]]
    hops: list[Hop]
    authentication: list[Authentication]


def overview(fields: list[Field]) -> Overview:
    """What these headers say: at most 1,000 of them and 256 Ki characters."""
    room = _HEADER_CHARS
    by_name: dict[str, list[str]] = {}
    raw: dict[str, list[str]] = {}
    for field in fields[:_MAX_HEADERS]:
        name, value = to_text(field.name).lower(), header_text(field.value[:_VALUE_BYTES])
        room -= len(name) + len(value)
        if room < 0:
            break
        by_name.setdefault(name, []).append(value)
        if name in _FIELDS and len(raw.setdefault(name, [])) < 20:
            raw[name].append(to_text(field.value[:_VALUE_BYTES]).replace("\r", "").replace("\n", " "))
    return Overview(
        headers={name: values[0] if len(values) == 1 else values for name, values in by_name.items()},
        subject=by_name.get("subject", [""])[0],
        date=moment(by_name.get("date", [""])[0]),
        addresses=_mailboxes(raw),
        hops=[hop(value) for value in by_name.get("received", [])[:100]],
        authentication=[
            authentication(name, value)
            for name in ("authentication-results", "arc-authentication-results")
            for value in by_name.get(name, [])[:20]
        ],
    )


def _mailboxes(raw: dict[str, list[str]]) -> dict[str, list[Address]]:
    made = {}
    for name, field in _FIELDS.items():
        found = [
            Address(
                header_text(one.address.encode("utf-8", "replace")),
                header_text(one.name.encode("utf-8", "replace")),
            )
            for one in addresses(raw.get(name, []))
        ]
        if found:
            made[field] = found
    return made


def written_otherwise(fields: list[Field]) -> bytes:
    """The headers whose text cannot be searched as it stands: encoded words (RFC 2047), or cut words."""
    lines: dict[bytes, None] = {}
    room = _HEADER_CHARS
    for field in fields[:_MAX_FIELDS]:
        value = field.value[:_VALUE_BYTES]
        if b"=?" in value:
            line = field.name + b": " + header_text(value).encode("utf-8", "replace")
        elif _LONG_WORD.search(value.translate(None, b" \t\r\n\0")):
            line = field.name + b": " + _FOLD.sub(b"", value).strip()
        else:
            continue
        room -= len(line)
        if room < 0:
            break
        lines.setdefault(line)
    return b"\n".join(lines)
