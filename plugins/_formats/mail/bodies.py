"""The texts of a mail that people read: kept in part, searched for URLs, freed of markup."""

from __future__ import annotations

import html
import re

import msgspec

from plugins._formats.mail.text import to_text
from plugins._text.iocs import find

_KEPT_CHARS = 64 * 1024
_TEXT_BYTES = 8 * 1024 * 1024
"""Of all bodies together; the children are whole."""
_BODY_BYTES = 1024 * 1024
_MAX_BODIES, _MAX_URLS = 8, 300
_TAG = re.compile(r"<[^<>]{0,4000}>")
_UNSEEN = re.compile(r"<(style|script|title)\b[^<>]{0,400}>[^<]{0,20000}", re.IGNORECASE)
_NEW_LINE = re.compile(r"<(?:br|/?p|/?div|/?tr|/?li|/?t[dh]|/?h\d)\b[^<>]{0,400}>", re.IGNORECASE)


class MailBody(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One body as text, cut at 65,536 characters; `charset` as the mail names it."""

    type: str
    charset: str = ""
    text: str = ""
    cut: bool = False


class Bodies:
    """What the bodies say: `kept` for the result, `texts` without markup, `urls` in order."""

    def __init__(self) -> None:
        """None yet."""
        self.kept: list[MailBody] = []
        self.texts: list[str] = []
        self.urls: dict[str, None] = {}
        self._room = _TEXT_BYTES

    def add(self, kind: str, charset: str, body: bytes) -> None:
        """One more body, if there is room."""
        if self._room <= 0:
            return
        self._room -= len(body)
        text = to_text(body[:_BODY_BYTES], charset or None)
        cut = len(text) > _KEPT_CHARS or len(body) > _BODY_BYTES
        if len(self.kept) < _MAX_BODIES:
            self.kept.append(MailBody(type=kind, charset=charset, text=text[:_KEPT_CHARS], cut=cut))
        plain = html.unescape(text) if kind == "text/html" else text
        for one in find(plain.encode("utf-8", "replace"), lambda kind, _value: kind == "urls"):
            if len(self.urls) >= _MAX_URLS:
                break
            self.urls.setdefault(one.value)
        self.texts.append(without_markup(text) if kind == "text/html" else text)


def without_markup(text: str) -> str:
    """What HTML shows: a line a paragraph, no tags, entities resolved."""
    text = _NEW_LINE.sub("\n", _UNSEEN.sub(" ", text))
    return html.unescape(_TAG.sub("", text)).replace("\xa0", " ")
