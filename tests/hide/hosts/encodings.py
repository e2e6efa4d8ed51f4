"""Scripts: bytes written as text in every way, one language an encoding, and split over literals."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle

from tests.encoded import ENCODINGS, SCRIPTS, SPLITS, b64, pieces
from tests.hide.matrix import place

_OF_TEXT_ALONE = frozenset(("base64 of UTF-16",))


def _encoded(encoding: str, script: str) -> Callable[[bytes], bytes | None]:
    def put(cargo: bytes) -> bytes | None:
        if encoding in _OF_TEXT_ALONE and not cargo.isascii():
            return None
        return SCRIPTS[script].replace(b"%b", ENCODINGS[encoding](cargo))

    return put


def _split(split: str) -> Callable[[bytes], bytes | None]:
    size, between = SPLITS[split]
    return lambda cargo: b"var a = " + pieces(b64(cargo), size, between) + b";\n"


for _encoding, _script in zip(ENCODINGS, cycle(SCRIPTS), strict=False):
    place("script", f"{_encoding} in {_script}")(_encoded(_encoding, _script))
for _name in SPLITS:
    place("script", f"base64 split: {_name}")(_split(_name))
for _charset in ("utf-16", "utf-16-be", "utf-32", "utf-7"):

    @place("script", f"base64 in {_charset}")
    def _wide(cargo: bytes, charset: str = _charset) -> bytes:
        return f"x = '{b64(cargo).decode()}'; // more of it".encode(charset)
