"""Which tricks of obfuscated scripts a text may use: one pass over it, letter case left aside."""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

_WORDS: dict[str, tuple[str, ...]] = {
    "literals": (r"/[+&][\s(]{0,40}[\"']/", "'.'", '"."', "' . '", '" . "', "||'", "|| '", '||"', '|| "',
                 r"/[\"']\r?\n[ \t]{0,80}[\"']/"),
    "escapes": (r"/\\x[2-7][0-9a-f]/", r"/\\u00[2-7]/", r"/\\u\{/",
                r"/%(u00)?[2-7][0-9a-f]/", r"/\\[01][0-7][0-7]/"),
    "entities": ("&#", "&quot;", "&apos;", "&amp;", "&lt;", "&lpar;", "&rpar;", "&colon;", "&tab;",
             "&newline;",
                 "&sol;", "&period;", "&plus;"),
    "continued": ("\\\n", "\\\r\n", "^\n", "^\r\n", " `\n", " `\r\n", r"/ _[ \t]{0,8}\r?\n/"),
    "typography": ("\u2018", "\u2019", "\u201c", "\u201d", "\u2013", "\u2014"),
    "invisible": ("\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad"),
    "powershell": ("powershell", "invoke-", "iex", "new-object", "-enc", "webclient"),
    "char": (r"/(chr[wb]?\$?|char|byte)\s{0,4}\(\s{0,4}(&h|0x)?[0-9]/",
             r"/(char|byte)[\])]\s{0,4}\(?\s{0,4}(&h|0x)?[0-9]/", "fromcharcode", "fromcodepoint",
             r"/([\"'](0x)?[0-9a-f]{1,3}[\"']\s{0,4},\s{0,4}){4}/"),
    "reverse": ("strreverse", "[::-1]", "reverse(", "reverse()", "strrev(", "[-1..-", "righttoleft",
                "..0]", "reversed("),
    "replace": ("replace(", "-replace", "replace ", "substitute("),
    "format": ("-f'", "-f '", '-f"', '-f "', "-f(", "-f (", "-f`"),
    "join": ("join(", "-join", "implode(", "concat("),
    "set": (r"/set[ \t]{1,8}\"?[a-z_]\w{0,40}=/", ":~"),
    "pieces": (r"/([\"'][A-Za-z0-9+\/=_-]{1,64}[\"'][\s,]{1,24}){3}[\"'][A-Za-z0-9+\/=_-]{1,64}[\"']/",),
    "base85": ("85", "0x55"),
    "rot13": ("cbjrefuryy", "uggc://", "uggcf://", "jfpevcg", "rkrp(", "riny(", "shapgvba",
             "vzcbeg ", "fpevcg",
              "rot13", "rot_13", "rot-13"),
    "vbe": ("#@~^",),
    "uu": ("begin ", "begin-base64"),
    "yenc": ("=ybegin ",),
    "git": ("git binary patch",),
    "ascii85": ("<~",),
    "base91": ("base91", "basE91"),
    "qp": ("=3d", "=20", "=0d", "=\n", "=\r\n"),
    "utf7": ("+adw-", "+aha-", "+ad0-", "+adw", "+acga", "+aci-"),
    "xor": (r"/(xor|\^)=?\s{0,4}(0x[0-9a-f]|[0-9])/",),
}  # fmt: skip


class _Own(threading.local):
    """A scanner serves one thread."""

    scanner: Any = None
    text: bytes = b""
    tricks: frozenset[str] = frozenset()


_OWN = _Own()


def warm() -> None:
    """Compile the words; scanning waits until after the fork."""
    _rules()


def tricks_of(text: bytes) -> frozenset[str]:
    """The tricks whose words the text has; the last answer is kept, for several ask about one text."""
    if text != _OWN.text:
        _OWN.tricks = _asked(text)
        _OWN.text = text
    return _OWN.tricks


def _asked(text: bytes) -> frozenset[str]:
    import yara_x

    if _OWN.scanner is None:
        _OWN.scanner = yara_x.Scanner(_rules())
        _OWN.scanner.max_matches_per_pattern(1)
    try:
        return frozenset(rule.identifier[2:] for rule in _OWN.scanner.scan(text).matching_rules)
    except (yara_x.ScanError, yara_x.TimeoutError):
        _OWN.scanner = None
        return frozenset(_WORDS)  # not known: each is looked for


@cache
def _rules() -> Any:
    import yara_x

    lines = []
    for name, words in _WORDS.items():
        strings = " ".join(f"$s{at} = {_pattern(word)} nocase" for at, word in enumerate(words))
        lines.append(f"rule t_{name} {{ strings: {strings} condition: any of them }}")
    return yara_x.compile("\n".join(lines))


def _pattern(word: str) -> str:
    if word.startswith("/") and word.endswith("/"):
        return word
    return '"' + "".join(f"\\x{letter:02x}" for letter in word.encode()) + '"'
