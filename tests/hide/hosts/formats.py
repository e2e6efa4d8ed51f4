"""Disks, firmware, streams and media, as `tests/format_files.py` builds them: each place that it knows."""

from __future__ import annotations

import struct
from collections.abc import Callable

from tests.format_files import ARCHIVES, MEDIA
from tests.hide.matrix import place

_MOST_BYTES = {"cramfs": 4_096, "png-filtered": 16_000}
"""A page of the file system; filtered pixels of larger pictures are looked through as they are filtered."""


def _register(kind: str, build: Callable[[bytes], bytes]) -> None:
    host, _, where = kind.partition("-")
    most = _MOST_BYTES.get(kind)

    @place(host, where or "content")
    def _put(cargo: bytes) -> bytes | None:
        if most is not None and len(cargo) > most:
            return None
        try:
            return build(cargo)
        except (struct.error, OverflowError):  # the place's length has not so many bits
            return None


for _kind, _build in {**ARCHIVES, **MEDIA}.items():
    _register(_kind, _build)
