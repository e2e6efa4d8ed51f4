"""One PE file as pefile reads its headers: sections, rich header, and how it strikes one.

Layout: Microsoft, *PE Format*. pefile reads what is asked for alone (`fast_load`).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import mmap
from typing import Any

import msgspec

from plugins._text.entropy import borrow, give_back
from plugins._text.room import text
from stoq_core.errors import PluginError, Reason
from stoq_core.limits import MiB
from stoq_core.payload import Payload

_EXECUTABLE, _READABLE, _WRITABLE, _CODE = 0x2000_0000, 0x4000_0000, 0x8000_0000, 0x20
_PACKED_ENTROPY, _PACKED_BYTES, _FEW_IMPORTS = 7.2, 512, 12
_PACKERS = ("UPX", ".aspack", ".adata", ".petite", ".MPRESS", ".nsp", ".vmp", ".themida", "PEC2", ".pklstb")
_DOS_BYTES = 64
_COPIED_BYTES = 16 * MiB  # larger ranges are measured where they lie


class Section(msgspec.Struct, frozen=True, omit_defaults=True):
    """A section: addresses, sizes in bytes, `flags` of `rwx`, digests and entropy of its bytes in the file.

    `unmeasured`: it overlaps others too often to be counted again.
    """

    name: str
    virtual_address: int
    virtual_size: int
    raw_offset: int
    raw_size: int
    flags: str
    characteristics: int
    md5: str = ""
    sha1: str = ""
    sha256: str = ""
    entropy: float | None = None
    unmeasured: bool = False


class RichEntry(msgspec.Struct, frozen=True):
    """A tool that had a part in the build: its product number, its build, how many objects it made."""

    product: int
    build: int
    count: int


class RichHeader(msgspec.Struct, frozen=True):
    """`md5` and `sha256` of the clear header, as pefile and stoQ give them; the `entries`."""

    md5: str
    sha256: str
    entries: list[RichEntry]


class Digests(msgspec.Struct, frozen=True):
    """Digests and entropy of a range of the file."""

    md5: str
    sha1: str
    sha256: str
    entropy: float


class Image:
    """A PE file: pefile's object, the bytes, and what may still be spent on digests of ranges."""

    def __init__(self, pe: Any, payload: Payload) -> None:
        """Ranges may be measured as long as they come to no more than twice the file."""
        self.pe, self.payload, self.view = pe, payload, payload.view()
        self._left = 2 * payload.size + MiB
        self._known: dict[tuple[int, int], Digests] = {}
        self._measure = borrow()

    def digests(self, start: int, size: int) -> Digests | None:
        """Of a range, cut at the file's end; None once overlapping ranges have used up what is allowed."""
        end = min(start + size, len(self.view))
        if (start, end) in self._known:
            return self._known[start, end]
        if end - start > self._left:
            return None
        self._left -= max(0, end - start)
        data = self.view[start:end]
        made = Digests(
            hashlib.md5(data).hexdigest(),
            hashlib.sha1(data).hexdigest(),
            hashlib.sha256(data).hexdigest(),
            self._entropy(start, len(data)),
        )
        self._known[start, end] = made
        return made

    def _entropy(self, start: int, size: int) -> float:
        if not size:
            return 0.0
        if size > _COPIED_BYTES:
            return round(self._measure.part(self.payload, start, size), 3)
        return round(self._measure.bytes(bytes(self.view[start : start + size])), 3)

    def done(self) -> None:
        """Nothing more is measured."""
        give_back(self._measure)

    def at_address(self, address: int) -> int | None:
        """The offset in the file of an address relative to the image's base, or None."""
        try:
            offset = self.pe.get_offset_from_rva(address)
        except Exception:  # noqa: BLE001 - pefile raises several kinds for an address that is nowhere
            return None
        return offset if isinstance(offset, int) and 0 <= offset < len(self.view) else None

    def read(self, address: int, size: int) -> bytes:
        """At most `size` bytes from that address on, as they stand in the file."""
        offset = self.at_address(address)
        return b"" if offset is None else bytes(self.view[offset : offset + size])


def open_image(payload: Payload) -> Image | None:
    """The file's headers, or None for what has no PE signature. Raises `PluginError("corrupt")`."""
    import pefile

    if not _signed(payload.view()):
        return None
    try:
        return Image(pefile.PE(data=_buffer(payload), fast_load=True), payload)
    except Exception as error:  # noqa: BLE001 - beside PEFormatError, pefile lets struct's and others through
        raise PluginError("corrupt", f"the headers do not hold: {error}", reason=Reason.CORRUPT) from None


def _signed(view: memoryview) -> bool:
    if len(view) < _DOS_BYTES or bytes(view[:2]) != b"MZ":
        return False
    at = int.from_bytes(view[0x3C:0x40], "little")
    return bytes(view[at : at + 4]) == b"PE\0\0"


def _buffer(payload: Payload) -> Any:
    """The bytes or the map behind the view, which pefile slices and searches without a copy."""
    behind = payload.view().obj
    whole = isinstance(behind, (bytes, bytearray, mmap.mmap)) and len(behind) == payload.size
    return behind if whole else payload.content


def utc(epoch: int) -> str:
    """Seconds since 1970 as RFC 3339, UTC whatever the machine's zone is."""
    return dt.datetime.fromtimestamp(epoch, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def sections(image: Image) -> list[Section]:
    """The section table, in its order."""
    return [_section(image, one) for one in image.pe.sections]


def _section(image: Image, one: Any) -> Section:
    found = image.digests(one.PointerToRawData, one.SizeOfRawData) if one.SizeOfRawData else None
    flags = one.Characteristics
    facts = {
        "name": text(one.Name),
        "virtual_address": one.VirtualAddress,
        "virtual_size": one.Misc_VirtualSize,
        "raw_offset": one.PointerToRawData,
        "raw_size": one.SizeOfRawData,
        "characteristics": flags,
        "flags": "".join(
            letter
            for letter, bit in (("r", _READABLE), ("w", _WRITABLE), ("x", _EXECUTABLE | _CODE))
            if flags & bit
        ),
    }
    if found is None:
        return Section(**facts, unmeasured=bool(one.SizeOfRawData))
    return Section(**facts, md5=found.md5, sha1=found.sha1, sha256=found.sha256, entropy=found.entropy)


def rich_header(image: Image) -> RichHeader | None:
    """The linker's mark in the DOS stub, or None where there is none or it does not hold."""
    try:
        found = image.pe.parse_rich_header()
    except Exception:  # noqa: BLE001 - damaged marks end in several kinds
        return None
    values = (found or {}).get("values")
    if not values:
        return None
    clear = b"DanS" + bytes(12) + b"".join(int(one).to_bytes(4, "little") for one in values)
    entries = [
        RichEntry(product_build >> 16, product_build & 0xFFFF, count)
        for product_build, count in zip(values[::2], values[1::2], strict=False)
    ]
    md5 = hashlib.md5(found.get("clear_data", b"")).hexdigest()
    return RichHeader(md5, hashlib.sha256(clear).hexdigest(), entries)


def entry_section(image: Image, table: list[Section]) -> Section | None:
    """The section that the entry point stands in."""
    entry = image.pe.OPTIONAL_HEADER.AddressOfEntryPoint
    for one in table:
        if one.virtual_address <= entry < one.virtual_address + max(one.virtual_size, one.raw_size):
            return one
    return None


def packed(table: list[Section], imported: int) -> str:
    """Why the file seems to be packed, or an empty string.

    A packer's section names; or code that looks random beside few imported functions.
    """
    for one in table:
        if one.name.startswith(_PACKERS):
            return f"section {one.name}"
    for one in table:
        if "x" in one.flags and one.raw_size >= _PACKED_BYTES and (one.entropy or 0) >= _PACKED_ENTROPY:
            return f"section {one.name} of entropy {one.entropy}" if imported < _FEW_IMPORTS else ""
    return ""
