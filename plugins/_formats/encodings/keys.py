"""Bytes hidden under a key of one byte, by XOR or ADD, found by what they must begin with or say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator

_MARKS = (
    b"MZ",
    b"PK\x03\x04",
    b"%PDF",
    b"\x7fELF",
    b"7z\xbc\xaf",
    b"Rar!",
    b"\xd0\xcf\x11\xe0",
    b"\x1f\x8b\x08\0",
    b"MSCF",
    b"{\\rt",
    b"<htm",
    b"<HTM",
    b"<!DO",
    b"<scr",
    b"L\0\0\0",
)
_BY_XOR: dict[int, list[bytes]] = {}
_BY_SUM: dict[int, list[bytes]] = {}
for _mark in _MARKS:
    _BY_XOR.setdefault(_mark[0] ^ _mark[1], []).append(_mark)
    _BY_SUM.setdefault((_mark[1] - _mark[0]) & 0xFF, []).append(_mark)
_COMMON = b" eEat\n0A"
_SAMPLE_BYTES = 1_024
_LEAST_BYTES = 32
_COMMONEST = 14  # a text's commonest letter is every tenth or so, that of random bytes every hundredth
_PRINTABLE = bytes((9, 10, 13, *range(32, 127)))
_WORDS = re.compile(
    rb"powershell|https?://|wscript|activexobject|createobject|function|\bvar |eval\(|exec\(|import |"
    rb"cmd\.exe|cmd /c|this program|#!/|<script|invoke|iex\b|document\.|window\.|echo |@echo|return |base64|"
    rb"new-object|subprocess|system\(|\$_|rundll32|regsvr32|mshta|curl |wget |certutil",
    re.IGNORECASE,
)


def unhidden(
    data: bytes, keys: tuple[int, ...], is_good: Callable[[bytes], bool]
) -> Iterator[tuple[str, int, bytes]]:
    """`xor` or `add`, the key, and the plain bytes; `keys` are those that the text around names.

    Their plain bytes must satisfy `is_good`; under other keys they must begin as a known type does, or be
    text with a script's words.
    """
    sample = data[:_SAMPLE_BYTES]
    for name, key, named in dict.fromkeys(_candidates(sample, keys)):
        head = sample.translate(_TABLES[name][key])
        if named or _is_plausible(head):
            plain = data.translate(_TABLES[name][key])
            if is_good(plain) if named or head.startswith(b"MZ") else True:
                yield name, key, plain


def _candidates(sample: bytes, keys: tuple[int, ...]) -> list[tuple[str, int, bool]]:
    found: list[tuple[str, int, bool]] = []
    for key in keys:
        found += [("xor", key & 0xFF, True), ("add", key & 0xFF, True), ("add", -key & 0xFF, True)]
    if len(sample) < _LEAST_BYTES:
        return [row for row in found if row[1]]
    for mark in _BY_XOR.get(sample[0] ^ sample[1], ()):
        key = sample[0] ^ mark[0]
        if all(have ^ want == key for have, want in zip(sample, mark, strict=False)):
            found.append(("xor", key, False))
    for mark in _BY_SUM.get((sample[1] - sample[0]) & 0xFF, ()):
        key = (sample[0] - mark[0]) & 0xFF
        if all((have - want) & 0xFF == key for have, want in zip(sample, mark, strict=False)):
            found.append(("add", key, False))
    top, times = Counter(sample).most_common(1)[0]
    if times * _COMMONEST < len(sample):
        return [row for row in found if row[1]]
    for letter in _COMMON:
        found += [("xor", top ^ letter, False), ("add", (top - letter) & 0xFF, False)]
    return [row for row in found if row[1]]


def _is_plausible(plain: bytes) -> bool:
    if plain.startswith(_MARKS):
        return True
    return not plain.translate(None, _PRINTABLE) and _WORDS.search(plain) is not None


_TABLES = {
    "xor": [bytes(letter ^ key for letter in range(256)) for key in range(256)],
    "add": [bytes((letter - key) & 0xFF for letter in range(256)) for key in range(256)],
}
