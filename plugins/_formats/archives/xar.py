"""xar archives, macOS installer packages among them: a compressed table of contents in XML and a heap."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from typing import Any

from stoq_core.errors import Reason
from stoq_core.limits import MiB

from .declare import Format, Mark, Source
from .entry import BadArchive, Chunks, Entry, Member, counted, name_of, refuse
from .extents import Image
from .singles import inflated
from .stream import decompressed

_HEADER_BYTES = 28
_MAX_TOC_BYTES = 64 * MiB
_MAX_DEPTH = 64
_MOST_SIGNATURE_BYTES = 512
_MAX_TEXT = 4_096
_ENCODINGS = {
    "application/octet-stream": "stored", "application/x-gzip": "zlib", "application/zlib": "zlib",
    "application/x-bzip2": "bzip2", "application/x-lzma": "lzma", "application/x-xz": "xz",
}  # fmt: skip
_DIGESTS = {"sha1": "sha1", "md5": "md5", "sha256": "sha256", "sha512": "sha512"}
_WANTED = frozenset({"name", "type", "mode", "mtime", "data/length", "data/offset", "data/size"})


def read_xar(source: Source) -> Iterator[Entry]:
    """Every file of the table of contents; digests are verified where they are of a known kind."""
    view, account = source.view, source.account
    if len(view) < _HEADER_BYTES:
        raise BadArchive(Reason.TRUNCATED, "the file ends within the header")
    header = int.from_bytes(view[4:6], "big")
    packed = int.from_bytes(view[8:16], "big")
    if header < _HEADER_BYTES or packed > len(view):
        raise BadArchive(Reason.TRUNCATED, "the file ends within the table of contents")
    heap = header + packed
    image = Image(view, account)
    account.structure(0, _HEADER_BYTES)
    contents = _inflated(view[header:heap])
    account.child(header, packed)
    listing = Member(name="contents.xml", size=len(contents), kind="table of contents", method="zlib")
    yield Entry(listing, lambda _passwords: iter((contents,)))
    files, own = _files(contents)
    for what in ("checksum", "signature", "x-signature"):
        account.structure(
            heap + _number(own, f"{what}/offset"), min(_MOST_SIGNATURE_BYTES, _number(own, f"{what}/size"))
        )
    for fields in files:
        yield _entry(image, heap, fields)


def _inflated(data: memoryview) -> bytes:
    decoder = zlib.decompressobj()
    try:
        toc = decoder.decompress(data, _MAX_TOC_BYTES)
    except zlib.error as error:
        raise BadArchive(Reason.CORRUPT, f"the table of contents is damaged: {error}") from None
    if not decoder.eof:
        reason = Reason.TOO_LARGE if len(toc) >= _MAX_TOC_BYTES else Reason.TRUNCATED
        raise BadArchive(reason, "the table of contents does not end")
    return toc


def _files(toc: bytes) -> tuple[list[dict[str, str]], dict[str, str]]:
    """The `file` elements as flat tables of their fields, `name` with the folders before it.

    Beside them the fields of the table's own checksum and signatures.
    """
    from xml.parsers import expat

    parser = expat.ParserCreate()
    handler = _Toc()
    parser.StartElementHandler = handler.start
    parser.EndElementHandler = handler.end
    parser.CharacterDataHandler = handler.text
    parser.EntityDeclHandler = handler.entity
    try:
        parser.Parse(toc, True)  # noqa: FBT003 - expat's own signature
    except (expat.ExpatError, ValueError, LookupError) as error:
        if not handler.files:
            raise BadArchive(Reason.CORRUPT, f"the table of contents is no XML: {error}") from None
    return handler.files, handler.own


class _Toc:
    """Collects what expat says."""

    def __init__(self) -> None:
        self.files: list[dict[str, str]] = []
        self.own: dict[str, str] = {}
        self._path: list[str] = []
        self._open: list[dict[str, str]] = []
        self._text = ""

    def entity(self, *_: Any) -> None:
        """Entities are how XML becomes a bomb; no xar has one."""
        raise BadArchive(Reason.CORRUPT, "the table of contents declares entities")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name)
        if len(self._path) > _MAX_DEPTH:
            raise BadArchive(Reason.CORRUPT, "the table of contents is too deep")
        self._text = ""
        if name == "file":
            self._open.append({})
            self.files.append(self._open[-1])
        elif self._open and name == "encoding":
            self._open[-1].setdefault("encoding", attributes.get("style", ""))
        elif self._open and name == "extracted-checksum":
            self._open[-1].setdefault("digest", attributes.get("style", "").lower())

    def text(self, data: str) -> None:
        if len(self._text) < _MAX_TEXT:
            self._text += data

    def end(self, name: str) -> None:
        self._path.pop()
        if name == "file":
            self._open.pop()
        elif not self._open and name in ("offset", "size"):
            self.own.setdefault(f"{self._path[-1] if self._path else ''}/{name}", self._text.strip())
        elif self._open:
            within = self._path[len(self._path) - self._path[::-1].index("file") :]
            key = "/".join([*within, name])
            if key in _WANTED:
                self._open[-1].setdefault(key, self._text.strip())
            elif key == "data/extracted-checksum":
                self._open[-1].setdefault("sum", self._text.strip().lower())
            if key == "name":
                folders = [one.get("own", "") for one in self._open[:-1]]
                self._open[-1]["own"] = self._text.strip()
                self._open[-1]["name"] = "/".join([*folders, self._text.strip()])
        self._text = ""


def _entry(image: Image, heap: int, fields: dict[str, str]) -> Entry:
    kind = fields.get("type", "file").split()[0] if fields.get("type") else "file"
    method = _ENCODINGS.get(fields.get("encoding", "application/octet-stream"), fields.get("encoding", ""))
    member = Member(
        name=name_of(fields.get("name", "").encode("utf-8", "backslashreplace")),
        size=_number(fields, "data/size"),
        kind=kind if kind in ("file", "directory", "symlink", "hardlink", "fifo") else "device",
        method=method,
        modified=fields.get("mtime") or None,
        mode=fields.get("mode") or None,
    )
    if member.kind == "hardlink" and "data/offset" in fields:
        member.kind = "file"
    if member.kind != "file" and not _number(fields, "data/length"):
        return Entry(member)
    start, packed = heap + _number(fields, "data/offset"), _number(fields, "data/length")
    if not image.fits([(start, packed)]):
        message = f"{member.name}: the files are together larger than the heap"
        return Entry(member, lambda _passwords: refuse(Reason.RATIO, message))

    taken: list[int] = []

    def opened(_passwords: Any) -> Chunks:
        return _verified(_decoded(image, start, packed, method, taken), member, fields)

    return Entry(member, opened, start, packed, taken)


def _decoded(image: Image, start: int, packed: int, method: str, taken: list[int]) -> Chunks:
    if not packed:
        return iter(())
    if method == "stored":
        return image.chunks([(start, packed)])
    data = image.view[start : start + packed]
    if method == "zlib":
        return counted(inflated(data), taken)
    if method in ("bzip2", "lzma", "xz"):
        return counted(decompressed(data, method), taken)
    return refuse(Reason.UNSUPPORTED_METHOD, f"the encoding {method!r} is not read")


def _verified(chunks: Chunks, member: Member, fields: dict[str, str]) -> Chunks:
    name = _DIGESTS.get(fields.get("digest", ""))
    digest = hashlib.new(name, usedforsecurity=False) if name and fields.get("sum") else None
    seen = 0
    for chunk in chunks:
        seen += len(chunk)
        if digest is not None:
            digest.update(chunk)
        yield chunk
    if seen < member.size:
        raise BadArchive(Reason.TRUNCATED, f"{seen} of {member.size} bytes are there")
    if seen > member.size:
        raise BadArchive(Reason.CORRUPT, f"{seen} bytes came out where {member.size} are listed")
    if digest is not None and digest.hexdigest() != fields["sum"]:
        raise BadArchive(Reason.CORRUPT, f"{member.name}: the {name} digest does not hold")


def _number(fields: dict[str, str], key: str) -> int:
    text = fields.get(key, "0")
    return int(text) if text.isdecimal() and len(text) < 20 else 0


def _begins(view: memoryview, offset: int) -> bool:
    """A header of at least 28 bytes, version 1, and a table of contents that is there."""
    head = bytes(view[offset : offset + 16])
    packed = int.from_bytes(head[8:16], "big")
    return head[6:8] == b"\0\1" and head[4:6] >= b"\0\x1c" and 0 < packed < len(view) - offset


FORMATS = (Format("xar", read_xar, (Mark(b"xar!"),), _begins),)
