"""Records of PowerPoint's streams (MS-PPT): the objects in them, stored or packed."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_OBJECT = b"\x11\x10"
"""Record type 0x1011, ExternalOleObjectStg (2.10.34), VBA projects among them."""
_MOST_OBJECTS = 10_000


def presentation_objects(stream: bytes) -> Iterator[tuple[int, bool, int, int]]:
    """Offset of each object of a `PowerPoint Document` stream; whether it is packed; where its bytes are."""
    at, count = stream.find(_OBJECT, 2), 0
    while at >= 0 and count < _MOST_OBJECTS:
        following = at + 1
        if at + 6 <= len(stream):
            version, _, size = struct.unpack_from("<HHI", stream, at - 2)
            start, end = at + 6, at + 6 + size
            if size >= 8 and end <= len(stream):
                packed = version == 0x10 and stream[start + 4] == 0x78
                if packed or (version == 0 and stream.startswith(b"\xd0\xcf\x11\xe0", start)):
                    count, following = count + 1, end
                    yield at - 2, packed, start + 4 if packed else start, end
        at = stream.find(_OBJECT, following)
