"""Read what mail headers say: mailboxes, hops, authentication results, dates."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from email import utils

import msgspec

_MAX_CHARS = 8 * 1024
_MAX_ADDRESSES = 200


class Address(msgspec.Struct, omit_defaults=True):
    """One mailbox: `address` and the `name` shown with it."""

    address: str
    name: str = ""


class Hop(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One `Received` header (RFC 5321, 4.4), newest first; `ips` are the addresses in brackets."""

    sender: str = ""
    by: str = ""
    protocol: str = ""
    id: str = ""
    recipient: str = ""
    ips: list[str] = []
    date: str | None = None


class AuthMethod(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One verdict: `method` (spf, dkim, dmarc, …), `result` (pass, fail, …) and its properties."""

    method: str
    result: str
    properties: dict[str, str] = {}


class Authentication(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One `Authentication-Results` header (RFC 8601, 2.2): who says so, and the verdicts."""

    header: str
    server: str = ""
    methods: list[AuthMethod] = []


def addresses(values: list[str]) -> list[Address]:
    """The mailboxes of headers such as `To`, groups flattened."""
    try:
        pairs = utils.getaddresses([one[:_MAX_CHARS] for one in values[:20]])
    except (ValueError, IndexError, TypeError, AttributeError, RecursionError):
        pairs = []
    if not any(address for _, address in pairs):
        pairs = [
            ("", one)
            for value in values[:20]
            for one in re.findall(r"[^\s<>,;\"]{1,64}@[^\s<>,;\"]{1,253}", value[:8192])
        ]
    return [Address(address, name) for name, address in pairs if address or name][:_MAX_ADDRESSES]


def hop(value: str) -> Hop:
    """What one `Received` header says."""
    clauses, _, date = value[:4_096].rpartition(";")
    clauses = clauses or date
    plain = _without_comments(clauses)

    def word(key: str, of: str = plain) -> str:
        found = re.search(rf"(?:^|\s){key}\s+<?([^\s<>;]{{1,320}})", of, re.IGNORECASE)
        return found.group(1) if found else ""

    ips = [
        one
        for one in re.findall(r"[\[(](?:IPv6:)?([0-9A-Fa-f:.]{3,45})[\])]", clauses, re.IGNORECASE)
        if _is_ip(one)
    ]
    return Hop(
        sender=word("from"), by=word("by"), protocol=word("with"), id=word("id"), recipient=word("for"),
        ips=list(dict.fromkeys(ips))[:10], date=moment(date),
    )  # fmt: skip


def moment(value: str) -> str | None:
    """A mail date as RFC 3339 in UTC, or None for nonsense; one that names no zone is taken for UTC."""
    try:
        when = utils.parsedate_to_datetime(value[:200].strip())
        when = when.astimezone(dt.UTC) if when.tzinfo else when
        return when.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
    except (ValueError, TypeError, IndexError, OverflowError, AttributeError):
        return None


def _is_ip(word: str) -> bool:
    try:
        ipaddress.ip_address(word)
    except ValueError:
        return False
    return True


def authentication(header: str, value: str) -> Authentication:
    """What one `Authentication-Results` (or `ARC-…`) header says."""
    first, *pieces = _without_comments(value[:_MAX_CHARS]).split(";")
    if re.match(r"\s*i\s*=", first) and pieces:
        first, *pieces = pieces
    made = Authentication(header=header, server=first.split()[0] if first.split() else "")
    for piece in pieces[:50]:
        found = re.match(r"\s*([\w-]{1,60})(?:\s*/\s*\d+)?\s*=\s*([\w-]{1,60})", piece)
        if found:
            rest = piece[found.end() :]
            pairs = re.findall(
                r'([\w-]{1,60}(?:\.[\w-]{1,60})?)\s{0,9}=\s{0,9}("[^"]{0,400}"|[^\s"]{1,400})', rest
            )
            properties = {key: text.strip('"') for key, text in pairs[:30]}
            made.methods.append(
                AuthMethod(method=found[1].lower(), result=found[2].lower(), properties=properties)
            )
    return made


def _without_comments(text: str) -> str:
    """RFC 5322 comments taken out, nested ones and quoted brackets too; linear."""
    kept: list[str] = []
    depth = 0
    quoted = escaped = False
    for one in text:
        if escaped:
            escaped = False
        elif one == "\\":
            escaped = True
        elif one == '"' and not depth:
            quoted = not quoted
        elif one == "(" and not quoted:
            depth += 1
        elif one == ")" and depth:
            depth -= 1
            continue
        if not depth:
            kept.append(one)
    return "".join(kept)
