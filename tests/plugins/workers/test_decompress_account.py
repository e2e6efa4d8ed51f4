"""Every byte of an archive has an account: what no record explains, and what other programs read, is a child."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable

import lz4.frame
import pytest

from plugins._formats.archives.readers import FORMATS
from plugins.workers.decompress import Decompress
from stoq_core.testing import Ran, make, run
from tests.plugins.workers import archive_makers as made

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SECRET = b"what is hidden, and packed so that no search sees it " * 2
PACKED = gzip.compress(SECRET, mtime=0)
SKIPPABLE = 0x184D2A50


def unpack(content: bytes) -> Ran:
    """One level."""
    return run(make(Decompress), content)


def finds(content: bytes, depth: int = 3) -> bool:
    """True if the secret comes out plain, within a few levels."""
    bodies = [child.body.content() for child in unpack(content).children]
    return any(SECRET in body for body in bodies) or (depth > 0 and any(finds(b, depth - 1) for b in bodies))


def zipped(*, extra: bytes = b"", comment: bytes = b"", of_member: bytes = b"") -> bytes:
    """A zip of one small member, with free bytes in one place."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("a")
        info.extra, info.comment = extra, of_member
        archive.writestr(info, b"hello")
        archive.comment = comment
    return out.getvalue()


def raw_zip(
    data: bytes, central: tuple[int, int, int], local: tuple[int, int, int], *, listed: bool = True,
    name: bytes = b"h", gap: bytes = b"",
) -> bytes:  # fmt: skip
    """A zip of a member `ok` and one whose two headers have their own flags, method and size."""
    out, rows = bytearray(), []
    for title, body, first, second, crc in (
        (b"ok", b"ok", (0, 0, 2), (0, 0, 2), zlib.crc32(b"ok")),
        (name, data, central, local, zlib.crc32(SECRET)),
    ):
        at = len(out)
        out += struct.pack(
            "<4sHHHIIIIHH", b"PK\3\4", 20, *second[:2], 0x210000, crc, len(body), second[2], len(title), 0
        )
        out += title + body
        head = struct.pack("<4sHHHHIIII", b"PK\1\2", 20, 20, *first[:2], 0x210000, crc, len(body), first[2])
        rows.append(head + struct.pack("<5HII", len(title), 0, 0, 0, 0, 0, at) + title)
    directory = b"".join(rows if listed else rows[:1])
    out += gap
    count = 2 if listed else 1
    end = struct.pack("<4s4HIIH", b"PK\5\6", 0, 0, count, count, len(directory), len(out), 0)
    return bytes(out) + directory + end


def deflated(data: bytes) -> bytes:
    """Raw deflate."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


RAW = deflated(SECRET)
PLAIN = (0, 8, len(SECRET))
FREE_BYTES_OF_A_ZIP: dict[str, Callable[[], bytes]] = {
    "comment": lambda: zipped(comment=PACKED),
    "a member's comment": lambda: zipped(of_member=PACKED),
    "an extra field": lambda: zipped(extra=struct.pack("<HH", 0xBEEF, len(PACKED)) + PACKED),
    "before the directory": lambda: raw_zip(b"", (0, 0, 0), (0, 0, 0), gap=PACKED),
    "behind a member's data": lambda: raw_zip(deflated(b"x") + PACKED, (0, 8, 1), (0, 8, 1)),
}


@pytest.mark.parametrize("place", FREE_BYTES_OF_A_ZIP)
def test_free_bytes_of_a_zip(place: str) -> None:
    """A file in what programs do not look at comes out."""
    assert finds(FREE_BYTES_OF_A_ZIP[place]())


@pytest.mark.parametrize(
    ("content", "contradicts"),
    [
        (raw_zip(RAW, PLAIN, PLAIN), False),
        (raw_zip(RAW, (0, 0, len(RAW)), PLAIN), True),
        (raw_zip(RAW, PLAIN, (0, 77, len(SECRET))), True),
        (raw_zip(RAW, (0, 77, len(SECRET)), PLAIN), True),
        (raw_zip(RAW, (1, 8, len(SECRET)), PLAIN), True),
        (raw_zip(RAW, (1, 8, len(SECRET)), (1, 8, len(SECRET))), True),
        (raw_zip(RAW, PLAIN, PLAIN, listed=False), True),
        (raw_zip(RAW, PLAIN, PLAIN, name=b"h/"), False),
    ],
    ids=["plain", "stored", "local method", "method", "locked", "both locked", "unlisted", "folder"],
)
def test_both_readings_of_a_zip(content: bytes, contradicts: bool) -> None:
    """Whatever either header says, the member comes out; a contradiction that hides it is a finding."""
    assert finds(content)
    names = {finding.name for finding in unpack(content).findings}
    assert names == ({"archive_read_two_ways"} if contradicts else set())


def test_a_zip_in_the_comment_of_a_zip() -> None:
    """Programs go by the first or by the last end record: the members of both come out."""
    inner, outer = raw_zip(RAW, PLAIN, PLAIN), zipped()
    assert finds(outer[:-2] + len(inner).to_bytes(2, "little") + inner)
    assert finds(inner + outer)


def test_an_archive_that_is_a_member_is_no_second_reading() -> None:
    """A zip that is stored in a zip ends near its end, too: that contradicts nothing."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("in.zip", raw_zip(RAW, PLAIN, PLAIN))
    ran = unpack(out.getvalue())
    assert list(ran.contents) == ["in.zip"]
    assert not ran.findings


def test_a_large_member_hides_none_behind_it() -> None:
    """Where there is no room for all, the small ones come first."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("decoy", bytes(40 << 20))
        archive.writestr("small", SECRET)
    assert unpack(out.getvalue()).contents["small"] == SECRET


def test_members_that_have_no_end_record() -> None:
    """Cut short, with sizes in descriptors only: deflated ones, and an archive that is stored."""
    inner = raw_zip(RAW, PLAIN, PLAIN)
    for method, data, plain in ((8, RAW, SECRET), (0, inner, inner)):
        head = struct.pack("<4sHHHIIIIHH", b"PK\3\4", 20, 8, method, 0x210000, 0, 0, 0, 1, 0) + b"h"
        behind = struct.pack("<4sIII", b"PK\7\x08", zlib.crc32(plain), len(data), len(plain))
        assert finds(head + data + behind)


def test_a_local_header_without_its_mark() -> None:
    """Some programs do not ask for it: the member comes out where its checksum holds."""
    content = bytearray(raw_zip(RAW, PLAIN, PLAIN))
    at = content.rindex(b"PK\3\4")
    content[at : at + 4] = b"XXXX"
    ran = unpack(bytes(content))
    assert ran.contents["h"] == SECRET
    assert [finding.name for finding in ran.findings] == ["archive_read_two_ways"]


def test_slack_in_the_blocks_of_a_cabinet() -> None:
    """Bytes behind the deflate stream of a block belong to no file."""
    plain = bytearray(made.cab({"a": b"hello"}))
    (at,) = struct.unpack_from("<I", plain, 36)
    packed, size = struct.unpack_from("<HH", plain, at + 4)
    content = plain[: at + 8] + deflate_block(plain, at, packed) + PACKED
    struct.pack_into("<IHH", content, at, 0, len(content) - at - 8, size)
    struct.pack_into("<H", content, 42, 1)
    struct.pack_into("<I", content, 8, len(content))
    ran = unpack(bytes(content))
    assert ran.contents["a"] == b"hello"
    assert finds(bytes(content))


def deflate_block(cab: bytearray, at: int, packed: int) -> bytes:
    """The first block of a folder as MSZIP."""
    data = bytes(cab[at + 8 : at + 8 + packed])
    return data if data.startswith(b"CK") else b"CK" + deflated(data)


def entry(kind: bytes, data: bytes, *, fields: dict[int, bytes] | None = None) -> bytes:
    """A tar whose first entry has that type; `fields` overwrite its header."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, body in (("a", data), ("ok", b"ok")):
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    raw = bytearray(out.getvalue())
    for at, value in {**(fields or {}), 156: kind, 148: b" " * 8}.items():
        raw[at : at + len(value)] = value
    raw[148:156] = b"%06o\0 " % sum(raw[:512])
    return bytes(raw)


@pytest.mark.parametrize("kind", list("01234567ADIMNSVZKLxgX"))
def test_tar_entries_of_any_type_are_read_for_their_bytes(kind: str) -> None:
    """Links, folders, devices, volume labels and headers with data are children like any other."""
    assert finds(entry(kind.encode(), PACKED))


def test_what_a_tar_leaves_free() -> None:
    """Padding behind a member, fields of a header, what follows the end, what follows a broken header."""
    plain = entry(b"0", b"hi")
    padded = bytearray(plain)
    padded[600 : 600 + len(PACKED)] = PACKED
    assert finds(bytes(padded))
    assert finds(entry(b"0", b"hi", fields={345: PACKED}))
    assert finds(plain + bytes(70_000) + PACKED)
    broken = unpack(plain[:1024] + b"garbage!" * 64 + entry(b"0", SECRET))
    assert broken.contents["a"] == SECRET or SECRET in broken.contents.values()
    assert broken.reasons == {"corrupt"}


def test_links_whose_size_is_their_targets() -> None:
    """Old archives list the size of a hard link's target, with no bytes behind the header."""
    link = bytearray(entry(b"1", b"")[:512])
    link[124:136] = b"00000001000\0"
    link[148:156] = b" " * 8
    link[148:156] = b"%06o\0 " % sum(link)
    ran = unpack(bytes(link) + entry(b"0", SECRET))
    assert ran.contents == {"a": SECRET, "ok": b"ok"}
    assert ran.reasons == set()


def cpio(mode: int, data: bytes, *, last: bytes = b"", more: bytes = b"") -> bytes:
    """newc: one member and the trailer, which may have data, and what follows it."""
    out = b""
    for name, kind, body in ((b"a\0", mode, data), (b"TRAILER!!!\0", 0, last)):
        numbers = (1, kind, 0, 0, 1, 0, len(body), 0, 0, 0, 0, len(name), 0)
        head = b"070701" + b"".join(b"%08X" % number for number in numbers) + name
        out += head + bytes(-len(head) % 4) + body + bytes(-len(body) % 4)
    return out + more


@pytest.mark.parametrize("mode", [0o120777, 0o040755, 0o020644, 0o010644, 0o140644, 0o170000, 0])
def test_cpio_members_of_any_mode(mode: int) -> None:
    """A mode hides no bytes."""
    assert finds(cpio(mode, PACKED))


def test_what_stands_behind_a_cpio() -> None:
    """A trailer with data, another cpio behind zeros, something else."""
    assert finds(cpio(0o100644, b"hi", last=PACKED))
    assert unpack(cpio(0o100644, b"hi", more=bytes(300) + cpio(0o100644, SECRET))).contents["a"] == SECRET
    assert finds(cpio(0o100644, b"hi", more=bytes(300) + PACKED))


def ar(*members: tuple[bytes, bytes]) -> bytes:
    """An ar of these names and bodies."""
    out = b"!<arch>\n"
    for name, body in members:
        out += name.ljust(16) + b"0".ljust(12) + b"0".ljust(6) * 2 + b"644".ljust(8)
        out += str(len(body)).encode().ljust(10) + b"`\n" + body + b"\n" * (len(body) & 1)
    return out


@pytest.mark.parametrize("name", [b"/", b"//", b"/SYM64/", b"__.SYMDEF", b"__.SYMDEF SORTED"])
def test_tables_of_an_ar_are_children_where_they_are_something_else(name: bytes) -> None:
    """Names and symbols are structure only where they are names and symbols."""
    assert finds(ar((name, PACKED), (b"ok/", b"ok")))


def test_tables_of_an_ar_are_structure() -> None:
    """A real table of symbols and one of long names are no children."""
    symbols = struct.pack(">II", 1, 8 + 60 + 14 + 60 + 20) + b"main\0\0"
    ran = unpack(ar((b"/", symbols), (b"//", b"a_long_name_of_it/\n\n"), (b"/0", b"body")))
    assert ran.contents == {"a_long_name_of_it": b"body"}


STREAMS = {
    "gzip FEXTRA": lambda: b"\x1f\x8b\x08\x04" + bytes(5) + b"\3" + struct.pack("<H", len(PACKED) + 4) + b"AB"
    + struct.pack("<H", len(PACKED)) + PACKED + deflated(b"hi") + struct.pack("<II", zlib.crc32(b"hi"), 2),
    "gzip behind zeros": lambda: gzip.compress(b"hi") + bytes(70_000) + gzip.compress(SECRET),
    "gzip of a wrong sum": lambda: gzip.compress(b"hi")[:-8] + b"\1" * 8 + gzip.compress(SECRET),
    "zstd, frame in front": lambda: struct.pack("<II", SKIPPABLE, len(PACKED)) + PACKED + zstd.compress(b"a"),
    "zstd, frame between": lambda: zstd.compress(b"a") + struct.pack("<II", SKIPPABLE + 9, len(PACKED)) + PACKED
    + zstd.compress(b"b"),
    "zstd, frame behind": lambda: zstd.compress(b"a") + struct.pack("<II", SKIPPABLE, len(PACKED)) + PACKED,
    "lz4, frame in front": lambda: struct.pack("<II", SKIPPABLE + 3, len(PACKED)) + PACKED
    + lz4.frame.compress(b"a"),
    "second bzip2": lambda: bz2.compress(b"a") + bz2.compress(PACKED),
    "behind xz": lambda: lzma.compress(b"a") + PACKED,
    "lzma, other properties": lambda: lzma.compress(
        SECRET, format=lzma.FORMAT_ALONE, filters=[{"id": lzma.FILTER_LZMA1, "lc": 1, "lp": 2, "pb": 4}]
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", STREAMS)
def test_streams_hide_nothing(form: str) -> None:
    """Fields of headers, frames that decoders skip, streams behind streams, properties of any kind."""
    assert finds(STREAMS[form]())


@pytest.mark.parametrize("maker", [made.cab, made.arj, made.lzh, made.xar])
def test_what_stands_behind_an_archive(maker: Callable[[dict[str, bytes]], bytes]) -> None:
    """It is a child that begins where the archive ends."""
    assert unpack(maker({"a": b"hello"}) + PACKED).contents["tail"] == PACKED


def test_reserved_areas_and_fields_of_a_cabinet() -> None:
    """Programs ignore what the fields say and skip the areas."""
    plain = made.cab({"a": b"hello"})
    size, files = struct.unpack_from("<I4xI", plain, 8)
    more = 4 + len(PACKED)
    content = bytearray(plain[:36] + struct.pack("<HBB", len(PACKED), 0, 0) + PACKED + plain[36:])
    content[4], content[30] = 1, content[30] | 4
    struct.pack_into("<I", content, 8, size + more)
    struct.pack_into("<I", content, 16, files + more)
    struct.pack_into("<I", content, 36 + more, struct.unpack_from("<I", plain, 36)[0] + more)
    ran = unpack(bytes(content))
    assert ran.contents["a"] == b"hello"
    assert finds(bytes(content))


def test_passwords_in_the_encodings_of_old_programs() -> None:
    """`Zürich` as Windows' ANSI code page has it, and what people choose each quarter."""
    for password, raw in (("Zürich", "Zürich".encode("cp1252")), ("", b"Summer2026!")):
        content = locked(raw)
        ran = run(make(Decompress), content, passwords=[password] if password else [])
        assert ran.contents == {"a": SECRET}


def locked(password: bytes) -> bytes:
    """A stored member under PKWARE's traditional encryption (APPNOTE 6.1)."""
    keys = [0x12345678, 0x23456789, 0x34567890]
    table = [_crc(n) for n in range(256)]

    def update(byte: int) -> None:
        keys[0] = keys[0] >> 8 ^ table[(keys[0] ^ byte) & 255]
        keys[1] = ((keys[1] + (keys[0] & 255)) * 134775813 + 1) & 0xFFFFFFFF
        keys[2] = keys[2] >> 8 ^ table[(keys[2] ^ keys[1] >> 24) & 255]

    for byte in password:
        update(byte)
    crc = zlib.crc32(SECRET)
    made_bytes = bytearray()
    for byte in bytes(11) + bytes((crc >> 24,)) + SECRET:
        mixed = keys[2] | 2
        made_bytes.append(byte ^ (mixed * (mixed ^ 1) >> 8 & 255))
        update(byte)
    head = struct.pack("<HHHIIIIHH", 20, 1, 0, 0x210000, crc, len(made_bytes), len(SECRET), 1, 0)
    local = b"PK\3\4" + head + b"a" + made_bytes
    central = b"PK\1\2" + struct.pack("<H", 20) + head[:-2] + struct.pack("<4HII", *[0] * 6) + b"a"
    return local + central + struct.pack("<4s4HIIH", b"PK\5\6", 0, 0, 1, 1, len(central), len(local), 0)


def _crc(n: int) -> int:
    for _ in range(8):
        n = n >> 1 ^ (0xEDB88320 if n & 1 else 0)
    return n


def test_each_mark_leads_to_its_reader() -> None:
    """What a maker writes begins with a mark of its format, and passes its check; noise does not."""
    samples = {
        "zip": zipped(), "cab": made.cab({"a": b"b"}), "arj": made.arj({"a": b"b"}), "lzh": made.lzh({"a": b"b"}),
        "xar": made.xar({"a": b"b"}), "tar": entry(b"0", b"b"), "cpio": cpio(0o100644, b"b"),
        "ar": ar((b"a/", b"b")), "gzip": PACKED, "bzip2": bz2.compress(b"b"), "xz": lzma.compress(b"b"),
        "zstd": zstd.compress(b"b"), "lz4": lz4.frame.compress(b"b"),
    }  # fmt: skip
    for label, content in samples.items():
        declared, view = FORMATS[label], memoryview(b"noise" + content)
        assert any(content[mark.offset :].startswith(mark.data) for mark in declared.marks), label
        assert declared.check(view, 5), label
        end = declared.end(view, 5)
        assert end is None or end == len(view), label


@pytest.mark.parametrize("form", ["gzip", "zip"])
def test_many_short_members_cost_no_more_than_one_long_one(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice as many members take twice as many steps: bytes given to decoders and searches are counted."""

    def steps(count: int) -> int:
        counted = [0]
        real = zlib.decompressobj

        class Decoder:
            def __init__(self, *words: int) -> None:
                self._real = real(*words)

            def __getattr__(self, name: str) -> object:
                return getattr(self._real, name)

            def decompress(self, data: bytes, most: int = 0) -> bytes:
                counted[0] += len(data)
                return self._real.decompress(data, most)

        monkeypatch.setattr(zlib, "decompressobj", Decoder)
        unpack(one * count)
        monkeypatch.setattr(zlib, "decompressobj", real)
        return counted[0]

    head = struct.pack("<4sHHHIIIIHH", b"PK\3\4", 20, 8, 8, 0x210000, 0, 0, 0, 1, 0) + b"h"
    one = gzip.compress(b"a" * 40) if form == "gzip" else head + deflated(b"a" * 40) + bytes(16)
    assert steps(4_000) < 3 * steps(2_000)
