"""What a part of a mail comes to: its bytes by each reading, a name if it has none, if it says anything."""

from __future__ import annotations

import re

from plugins._formats.mail.message import Entity
from plugins._formats.mail.transfer import Decoded, quoted_printable, readings

ENCODED_MULTIPART = "a multipart that is encoded"
"""How a reading is called that decodes a multipart as a whole, which RFC 2045 (6.4) forbids and some do."""
_ESCAPES = re.compile(rb"(?:=[0-9A-Fa-f]{2}){4}")
_BLANK = b" \t\r\n\0-"
_NOTICE = re.compile(
    rb"\s*(?:This is a (?:multi-?part|cryptographically signed|S/MIME signed) message in MIME format\.?|"
    rb"This is an OpenPGP/MIME (?:signed|encrypted) message \(RFC [0-9 and]{4,20}\))\s*",
    re.IGNORECASE,
)
"""What mail programs write before the first part for those that know no MIME."""


def part_readings(part: Entity, data: bytes) -> list[Decoded]:
    """A part's body by all its encodings, the likeliest first; none for a text that is given already."""
    if part.hidden and part.encodings in ([], ["identity"]) and not part.names and part.is_text:
        return []  # the part around it holds it as it stands
    if not part.hidden and any(kind.startswith("multipart") for kind in part.kinds):
        encoded = [one for one in part.encodings if one not in ("identity", "unknown")]
        head = b"".join(b"Content-Type: %s\r\n" % one.strip() for one in part.values("type")[:20])
        inner = [
            Decoded(head + b"\r\n" + one.content, how=ENCODED_MULTIPART) for one in readings(data, encoded)
        ]
        return [Decoded(data), *(inner if encoded else ())]
    found = readings(data, part.encodings)
    if part.encodings in ([], ["identity"]) and _ESCAPES.search(data):  # some forget to say so
        found.append(Decoded(quoted_printable(data), how="as quoted-printable"))
    return found


def says_nothing(text: bytes) -> bool:
    """True for what stands around the parts of most mails: nothing, or a notice for old programs."""
    return not text.strip(_BLANK) or _NOTICE.fullmatch(text) is not None


def nameless(place: str, kind: str) -> str:
    """A name for a part that has none."""
    endings = {"text/plain": "txt", "text/html": "html", "message/rfc822": "eml"}
    return f"part-{place}.{endings.get(kind, 'bin')}"
