"""Archives: comments, extra fields, kinds of members, gaps, reserves and tails."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable

from tests.hide.cargo import seven
from tests.hide.matrix import place
from tests.plugins.workers import archive_makers as makers

_MEMBER = b"an ordinary member, some words of it\n" * 3


def zipped(
    content: bytes = _MEMBER, change: Callable[[zipfile.ZipInfo], None] | None = None, *, comment: bytes = b""
) -> bytes:
    """A zip of one member, deflated."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        info = zipfile.ZipInfo("a.txt")
        info.compress_type = zipfile.ZIP_DEFLATED
        if change is not None:
            change(info)
        made.writestr(info, content)
        made.comment = comment
    return out.getvalue()


@place("zip", "member, deflated")
def _member(cargo: bytes) -> bytes:
    return zipped(cargo)


@place("zip", "member, stored")
def _stored(cargo: bytes) -> bytes:
    return zipped(cargo, lambda info: setattr(info, "compress_type", zipfile.ZIP_STORED))


@place("zip", "member called a folder")
def _folder(cargo: bytes) -> bytes:
    return zipped(cargo, lambda info: setattr(info, "filename", "a/"))


@place("zip", "member called a link")
def _link(cargo: bytes) -> bytes:
    return zipped(cargo, lambda info: setattr(info, "external_attr", 0o120777 << 16))


@place("zip", "comment")
def _comment(cargo: bytes) -> bytes | None:
    return zipped(comment=cargo) if len(cargo) < 65_536 else None


@place("zip", "comment of a member")
def _member_comment(cargo: bytes) -> bytes | None:
    return zipped(change=lambda info: setattr(info, "comment", cargo)) if len(cargo) < 65_536 else None


@place("zip", "extra field")
def _extra(cargo: bytes) -> bytes | None:
    field = struct.pack("<HH", 0x9999, len(cargo)) + cargo
    return zipped(change=lambda info: setattr(info, "extra", field)) if len(cargo) < 60_000 else None


@place("zip", "before the first member")
def _before(cargo: bytes) -> bytes:
    return cargo + zipped()


@place("zip", "behind the end")
def _behind(cargo: bytes) -> bytes:
    return zipped() + cargo


@place("zip", "far behind the end")
def _far_behind(cargo: bytes) -> bytes:
    return zipped() + cargo + b"words " * 15_000


@place("zip", "between members and directory")
def _between(cargo: bytes) -> bytes:
    made = zipped()
    at = made.index(b"PK\1\2")
    end = bytearray(made[at:])
    place_at = end.index(b"PK\5\6") + 16
    struct.pack_into("<I", end, place_at, at + len(cargo))
    return made[:at] + cargo + bytes(end)


@place("zip", "behind the deflated data")
def _slack(cargo: bytes) -> bytes:
    made = bytearray(zipped())
    packed = struct.unpack_from("<I", made, 18)[0]
    at = 35 + packed
    struct.pack_into("<I", made, 18, packed + len(cargo))
    central = made.index(b"PK\1\2")
    struct.pack_into("<I", made, central + 20, packed + len(cargo))
    end = made.index(b"PK\5\6")
    struct.pack_into("<I", made, end + 16, central + len(cargo))
    return bytes(made[:at]) + cargo + bytes(made[at:])


@place("zip", "a member that no directory names")
def _unlisted(cargo: bytes) -> bytes:
    hidden, plain = zipped(cargo), bytearray(zipped())
    local = hidden[: hidden.index(b"PK\1\2")]
    central, end = plain.index(b"PK\1\2"), plain.index(b"PK\5\6")
    struct.pack_into("<I", plain, central + 42, len(local))
    struct.pack_into("<I", plain, end + 16, central + len(local))
    return local + bytes(plain)


@place("zip", "a second zip behind it")
def _second(cargo: bytes) -> bytes:
    return zipped() + zipped(cargo)


@place("zip", "two members of one name")
def _twice(cargo: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in (("a.txt", _MEMBER), ("b.txt", cargo), ("c.txt", _MEMBER)):
            made.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue().replace(b"b.txt", b"a.txt").replace(b"c.txt", b"a.txt")


@place("zip", "a wrong checksum")
def _checksum(cargo: bytes) -> bytes:
    made = zipped(cargo)
    return made.replace(struct.pack("<I", zlib.crc32(cargo)), b"\1\2\3\4")


def gzipped(flags: int, fields: bytes) -> bytes:
    """A gzip with optional fields in its header."""
    packed = gzip.compress(_MEMBER, mtime=0)
    return packed[:3] + bytes((flags,)) + packed[4:10] + fields + packed[10:]


@place("gzip", "content")
def _gzip_content(cargo: bytes) -> bytes:
    return gzip.compress(cargo)


@place("gzip", "extra field")
def _gzip_extra(cargo: bytes) -> bytes | None:
    field = b"XY" + struct.pack("<H", len(cargo)) + cargo
    return gzipped(4, struct.pack("<H", len(field)) + field) if len(field) < 65_536 else None


@place("gzip", "comment")
def _gzip_comment(cargo: bytes) -> bytes | None:
    return None if b"\0" in cargo else gzipped(16, cargo + b"\0")


@place("gzip", "tail")
def _gzip_tail(cargo: bytes) -> bytes:
    return gzip.compress(_MEMBER) + cargo


@place("gzip", "tail behind zeros")
def _gzip_tail_zeros(cargo: bytes) -> bytes:
    return gzip.compress(_MEMBER) + bytes(1_000) + cargo


@place("gzip", "a wrong checksum")
def _gzip_checksum(cargo: bytes) -> bytes:
    return gzip.compress(cargo)[:-8] + bytes(8)


def tarred(content: bytes, kind: bytes = b"0", *, pad: bytes = b"", fmt: int = tarfile.USTAR_FORMAT) -> bytes:
    """A tar of a first member of this kind with this content, and an ordinary one."""
    first = tarfile.TarInfo("a")
    first.type, first.size = kind, len(content)
    blocks = first.tobuf(fmt) + content + pad.ljust(-len(content) % 512, b"\0")
    second = tarfile.TarInfo("b")
    second.size = len(_MEMBER)
    return blocks + second.tobuf(fmt) + _MEMBER.ljust(512, b"\0") + bytes(1024)


for _kind in b"01234567SVZx":
    place("tar", f"member of type {chr(_kind)}")(lambda cargo, kind=_kind: tarred(cargo, bytes((kind,))))  # type: ignore[misc]


@place("tar", "padding of a member")
def _tar_padding(cargo: bytes) -> bytes | None:
    return tarred(b"word", pad=cargo) if len(cargo) <= 508 else None


@place("tar", "behind the end")
def _tar_tail(cargo: bytes) -> bytes:
    return tarred(b"word") + cargo


@place("tar", "free bytes of a header")
def _tar_header(cargo: bytes) -> bytes | None:
    if len(cargo) > 150:
        return None
    made = bytearray(tarred(b"word"))
    made[345 : 345 + len(cargo)] = cargo
    made[148:156] = b"%06o\0 " % (sum(made[:148]) + 256 + sum(made[156:512]))
    return bytes(made)


@place("7z", "content")
def _seven(cargo: bytes) -> bytes:
    return seven(cargo)


@place("7z", "tail")
def _seven_tail(cargo: bytes) -> bytes:
    return seven(_MEMBER) + cargo


@place("7z", "between content and header")
def _seven_gap(cargo: bytes) -> bytes:
    made = bytearray(seven(_MEMBER))
    offset, size, crc = struct.unpack_from("<QQI", made, 12)
    start = struct.pack("<QQI", offset + len(cargo), size, crc)
    head = made[:8] + struct.pack("<I", zlib.crc32(start)) + start
    return bytes(head) + bytes(made[32 : 32 + offset]) + cargo + bytes(made[32 + offset :])


@place("cab", "member")
def _cab(cargo: bytes) -> bytes:
    return makers.cab({"a.txt": cargo}, mszip=True)


@place("cab", "tail")
def _cab_tail(cargo: bytes) -> bytes:
    return makers.cab({"a.txt": _MEMBER}) + cargo


@place("cab", "reserve of the header")
def _cab_reserve(cargo: bytes) -> bytes | None:
    if len(cargo) > 60_000:
        return None
    made = makers.cab({"a.txt": _MEMBER})
    grown = len(cargo) + 4
    size, files_at = (
        struct.unpack_from("<I", made, 8)[0] + grown,
        struct.unpack_from("<I", made, 16)[0] + grown,
    )
    folder = struct.pack("<I", struct.unpack_from("<I", made, 36)[0] + grown) + made[40:44]
    head = made[:8] + struct.pack("<I", size) + made[12:16] + struct.pack("<I", files_at) + made[20:30]
    flags = struct.pack("<H", struct.unpack_from("<H", made, 30)[0] | 4)
    return head + flags + made[32:36] + struct.pack("<HBB", len(cargo), 0, 0) + cargo + folder + made[44:]


@place("cpio", "member")
def _cpio(cargo: bytes) -> bytes:
    return makers.cpio({"a.txt": cargo})


def _cpio_of_mode(mode: int) -> Callable[[bytes], bytes]:
    return lambda cargo: makers.cpio({"a.txt": cargo}).replace(b"000081A4", b"%08X" % mode, 1)


for _name, _mode in (
    ("link", 0o120777),
    ("device", 0o060644),
    ("folder", 0o040755),
    ("fifo", 0o010644),
    ("0", 0o644),
):
    place("cpio", f"member called a {_name}")(_cpio_of_mode(_mode))


@place("cpio", "tail")
def _cpio_tail(cargo: bytes) -> bytes:
    return makers.cpio({"a.txt": _MEMBER}) + cargo


def ar(*members: tuple[bytes, bytes]) -> bytes:
    """An ar of names and contents."""
    return b"!<arch>\n" + b"".join(
        name.ljust(48) + b"%-10d`\n" % len(content) + content + b"\n" * (len(content) & 1)
        for name, content in members
    )


for _ar_name in (b"a.txt/", b"/", b"//", b"/SYM64/", b"__.SYMDEF", b"#1/4"):
    place("ar", f"member called {_ar_name.decode()}")(
        lambda cargo, name=_ar_name: ar(
            (b"first/", _MEMBER), (name, b"name"[: 4 * (name == b"#1/4")] + cargo)
        )  # type: ignore[misc]
    )


@place("ar", "tail")
def _ar_tail(cargo: bytes) -> bytes:
    return ar((b"first/", _MEMBER)) + cargo


@place("xar", "heap that no file names")
def _xar_heap(cargo: bytes) -> bytes:
    return makers.xar({"a.txt": _MEMBER}) + cargo


@place("xar", "member")
def _xar(cargo: bytes) -> bytes:
    return makers.xar({"a.txt": cargo})


@place("arj", "member")
def _arj(cargo: bytes) -> bytes:
    return makers.arj({"a.txt": cargo})


@place("arj", "tail")
def _arj_tail(cargo: bytes) -> bytes:
    return makers.arj({"a.txt": _MEMBER}) + cargo


@place("lzh", "member")
def _lzh(cargo: bytes) -> bytes:
    return makers.lzh({"a.txt": cargo})


@place("lzh", "member called a folder")
def _lzh_folder(cargo: bytes) -> bytes:
    return makers.lzh({"a": cargo}, method=b"-lhd-")


@place("lzh", "tail")
def _lzh_tail(cargo: bytes) -> bytes:
    return makers.lzh({"a.txt": _MEMBER}) + cargo


@place("rpm", "payload")
def _rpm(cargo: bytes) -> bytes:
    return makers.rpm(gzip.compress(makers.cpio({"a": cargo})))


@place("rpm", "script")
def _rpm_script(cargo: bytes) -> bytes | None:
    return None if b"\0" in cargo else makers.rpm(gzip.compress(makers.cpio({"a": _MEMBER})), cargo)
