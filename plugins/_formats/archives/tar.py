"""tar in its ustar, GNU, pax and V7 forms (POSIX.1-2017, pax; GNU tar manual, *Basic Tar Format*)."""

from __future__ import annotations

from collections.abc import Iterator

from stoq_core.account import Account
from stoq_core.errors import Reason
from stoq_core.limits import KiB

from .declare import Format, Mark, Source
from .entry import BadArchive, Entry, Member, is_field, is_text, name_of, stored, timestamp

_BLOCK = 512
_MAX_EXTENSION_BYTES = 256 * KiB
_KINDS = {
    b"0": "file", b"\0": "file", b"7": "file", b"1": "hardlink", b"2": "symlink", b"3": "device",
    b"4": "device", b"5": "directory", b"6": "fifo", b"S": "file", b"L": "long name", b"K": "long name",
    b"x": "pax header", b"g": "pax header", b"X": "pax header",
}  # fmt: skip
_EXTENSIONS = frozenset({"long name", "pax header"})
_TEXTS = ((0, 100), (157, 257), (265, 297), (297, 329), (345, 500), (500, 512))
"""Name, link's name, owner, group, prefix (in GNU's form times and a sparse map), the rest: (start, end)."""
_CONTROL = bytes(set(range(1, 32)) - {9, 10, 13})
_SPARSE_MORE_AT, _SPARSE_BLOCK_MORE_AT = 482, 504


def read_tar(source: Source) -> Iterator[Entry]:
    """Every member with bytes, whatever its type; raises `BadArchive` at the end where the structure broke.

    Behind a header that does not hold, the next one that does is looked for, as GNU tar does.
    """
    view, account = source.view, source.account
    at, extension = 0, dict[str, bytes]()
    problem: BadArchive | None = None
    while at + _BLOCK <= len(view):
        block = bytes(view[at : at + _BLOCK])
        if not block.strip(b"\0"):
            break
        size = _size(block, extension)
        if not _checksum_holds(block) or size < 0:
            problem = problem or BadArchive(Reason.CORRUPT, f"the header at offset {at} does not hold")
            at = _next_header(view, at + _BLOCK)
            continue
        _claim_header(account, block, at)
        start = _behind_sparse_map(view, block, at, account)
        kind = _KINDS.get(block[156:157], "file")
        if kind not in ("file", *_EXTENSIONS) and _is_header(view, start):
            size = 0  # links of old archives have their target's size, and no bytes of their own
        data = view[start : start + size]
        if kind in _EXTENSIONS:
            _extend(extension, block[156:157], bytes(data[:_MAX_EXTENSION_BYTES]))
            yield from _extension(data, kind, start, account)
        else:
            yield _entry(block, kind, data, size, extension, start)
            extension = {}
        if len(data) < size:
            raise BadArchive(Reason.TRUNCATED, "the archive ends within a member")
        at = start + -(-size // _BLOCK) * _BLOCK
    if problem is not None:
        raise problem
    if at < len(view) < at + _BLOCK:
        raise BadArchive(Reason.TRUNCATED, "the archive ends within a header")


def _size(block: bytes, extension: dict[str, bytes]) -> int:
    size = _number(block[124:136])
    return _decimal(extension["size"], size) if "size" in extension else size


def _is_header(view: memoryview, at: int) -> bool:
    block = bytes(view[at : at + _BLOCK])
    return len(block) == _BLOCK and bool(block[0]) and _checksum_holds(block)


def _next_header(view: memoryview, at: int) -> int:
    """Where the next header with the mark and a checksum that holds begins, or behind the end."""
    while at + _BLOCK <= len(view):
        if bytes(view[at + 257 : at + 262]) == b"ustar" and _is_header(view, at):
            return at
        at += _BLOCK
    return len(view)


def _claim_header(account: Account, block: bytes, at: int) -> None:
    """All of it but fields for text that hold something else."""
    if len(block.translate(None, _CONTROL)) == _BLOCK:
        account.structure(at, _BLOCK)
        return
    reached = 0
    for start, end in _TEXTS:
        if not is_field(block[start:end]):
            account.structure(at + reached, start - reached)
            reached = end
    account.structure(at + reached, _BLOCK - reached)


def _behind_sparse_map(view: memoryview, block: bytes, at: int, account: Account) -> int:
    """Where the data begin: behind the blocks in which a long map of GNU's sparse files goes on."""
    start = at + _BLOCK
    more = block[156:157] == b"S" and block[_SPARSE_MORE_AT]
    while more and start + _BLOCK <= len(view):
        block = bytes(view[start : start + _BLOCK])
        if all(is_field(block[n : n + 24]) for n in range(0, 504, 24)):
            account.structure(start, _BLOCK)
        more = block[_SPARSE_BLOCK_MORE_AT]
        start += _BLOCK
    return start


def _extension(data: memoryview, kind: str, start: int, account: Account) -> Iterator[Entry]:
    """A header that is about the next member: a child only if it holds more than text."""
    raw = bytes(data[: _MAX_EXTENSION_BYTES + 1])
    if is_text(raw.rstrip(b"\0"), _MAX_EXTENSION_BYTES):
        account.structure(start, len(data))
    else:
        yield stored(Member(name=kind, size=len(data), kind=kind, method="stored"), data, start)


def _entry(
    block: bytes, what: str, data: memoryview, size: int, extension: dict[str, bytes], offset: int
) -> Entry:
    raw = extension.get("path") or _ustar_name(block)
    member = Member(
        name=name_of(raw),
        size=size,
        kind="directory" if what == "file" and raw.endswith(b"/") else what,
        method="stored",
        modified=timestamp(_number(block[136:148])),
        mode=f"{_number(block[100:108]) & 0o7777:04o}",
    )
    return stored(member, data, offset) if size or member.kind == "file" else Entry(member)


def _ustar_name(block: bytes) -> bytes:
    name = block[:100].partition(b"\0")[0]
    prefix = block[345:500].partition(b"\0")[0] if block[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _extend(extension: dict[str, bytes], kind: bytes, data: bytes) -> None:
    if kind == b"L":
        extension["path"] = data.partition(b"\0")[0]
    elif kind == b"x":
        extension.update({key: value for key, value in _pax(data) if key in ("path", "size")})


def _pax(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Records of the form LENGTH KEY=VALUE, each ended by a line feed."""
    at = 0
    while at < len(data):
        digits = data[at : at + 20].partition(b" ")[0]
        length = _decimal(digits, 0)
        if length <= len(digits) + 1 or at + length > len(data):
            return
        key, equals, value = data[at + len(digits) + 1 : at + length - 1].partition(b"=")
        if equals:
            yield key.decode("utf-8", "replace"), value
        at += length


def _checksum_holds(block: bytes) -> bool:
    return _number(block[148:156]) == sum(block[:148]) + 256 + sum(block[156:])


def _number(field: bytes) -> int:
    """Octal text, or base 256 where the first bit is set."""
    if field[:1] and field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (len(field) * 8 - 1)) - 1)
        return -1 if field[0] == 0xFF else value
    digits = field.partition(b"\0")[0].strip()
    try:
        return int(digits or b"0", 8)
    except ValueError:
        return -1


def _decimal(digits: bytes, otherwise: int) -> int:
    return int(digits) if digits.isdigit() and len(digits) < 20 else otherwise


def _begins(view: memoryview, offset: int) -> bool:
    """A header whose checksum holds."""
    block = bytes(view[offset : offset + _BLOCK])
    return len(block) == _BLOCK and bool(block[0]) and _checksum_holds(block)


FORMATS = (Format("tar", read_tar, (Mark(b"ustar", 257),), _begins),)
