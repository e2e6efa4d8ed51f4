"""Electron's ASAR: a JSON tree of names, offsets and sizes, then the files one after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from stoq_core.errors import Reason
from stoq_core.limits import MiB

from .declare import Format, Mark, Source, number
from .entry import MAX_NAME_BYTES, BadArchive, Entry, Member, refuse, sliced

_MOST_HEADER_BYTES = 32 * MiB
_MOST_DEPTH = 100


def read_asar(source: Source) -> Iterator[Entry]:
    """Every file; those that stand beside the archive (`unpacked`) and links are but listed."""
    view = source.view
    begin, size = 8 + number(view, 4, 4), number(view, 12, 4)
    if not 0 < size <= min(_MOST_HEADER_BYTES, len(view) - 16):
        raise BadArchive(Reason.TRUNCATED, "the header is cut short")
    try:
        tree = json.loads(bytes(view[16 : 16 + size]))
    except (ValueError, RecursionError) as error:
        raise BadArchive(Reason.CORRUPT, f"the header is no JSON: {error}") from None
    source.account.child(16, size)  # integrity hashes and unknown keys: it is a file by itself
    source.account.structure(0, 16)
    header = view[16 : 16 + size]
    yield Entry(Member(name="header.json", size=size, method="stored"), lambda _passwords: sliced(header), 16)
    budget = [2 * len(view) + MiB]
    for name, node in _files(tree):
        yield _entry(source, name, node, begin, budget)


def _files(tree: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and nodes without recursion."""
    waiting: list[tuple[str, Any, int]] = [("", tree, 0)]
    while waiting:
        name, node, depth = waiting.pop()
        if not isinstance(node, dict):
            continue
        inner = node.get("files")
        if isinstance(inner, dict):
            if depth > _MOST_DEPTH:
                raise BadArchive(Reason.TOO_DEEP, "folders within folders without end")
            prefix = f"{name}/" if name else ""
            waiting += ((prefix + str(key), below, depth + 1) for key, below in reversed(inner.items()))
        if "offset" in node or "size" in node or "link" in node:
            yield name, node


def _entry(source: Source, name: str, node: dict[str, Any], begin: int, budget: list[int]) -> Entry:
    member = Member(name=name[:MAX_NAME_BYTES] or "unnamed", method="stored")
    try:
        member.size, offset = int(node.get("size", 0)), int(node["offset"])
    except (KeyError, TypeError, ValueError):
        member.kind = "symlink" if "link" in node else "file"
        return Entry(member)
    at = begin + offset
    budget[0] -= max(0, member.size)
    if min(member.size, offset) < 0 or budget[0] < 0:
        reason, message = Reason.RATIO, "the files are together larger than the archive"
        return Entry(member, lambda _passwords: refuse(reason, message))
    data = source.view[at : at + member.size]
    source.account.child(at, len(data))
    return Entry(member, lambda _passwords: _stored(data, member.size), at)


def _stored(data: memoryview, size: int) -> Iterator[bytes | memoryview]:
    yield from sliced(data)
    if len(data) < size:
        raise BadArchive(Reason.TRUNCATED, f"{len(data)} of {size} bytes are there")


def _is_asar(view: memoryview, start: int) -> bool:
    sizes = [number(view, start + n, 4) for n in (4, 8, 12)]
    return sizes[0] >= sizes[1] >= sizes[2] > 0 and bytes(view[start + 16 : start + 17]) == b"{"


FORMATS = (Format("asar", read_asar, (Mark(b'{"files":', 16),), _is_asar),)
