"""Archives that were made to break what opens them: per format a cut one, a damaged one, a bomb and traps."""

from __future__ import annotations

import bz2
import lzma
import struct
import time
import tomllib
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import brotli
import lz4.frame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins._formats.archives.bits import Bits, codes
from plugins._formats.archives.dmg import adc
from plugins._formats.archives.entry import BadArchive
from plugins._formats.archives.rarvolume import alone
from plugins._formats.archives.readers import FORMATS
from plugins._formats.archives.seven_listing import parse_listing
from plugins._formats.filetype import identify
from plugins.dispatchers.filetype import Filetype
from plugins.workers import decompress
from plugins.workers.decompress import Decompress
from stoq_core.body import Body
from stoq_core.limits import Deadline, RequestLimits
from stoq_core.testing import FakeClock, Ran, make, payload, run
from tests.kit import Source, scan
from tests.plugins.workers import archive_makers as made

TEXT = b"hello world, hello archive\n" * 300
NOISE = bytes((n * 7919 >> 3) & 0xFF for n in range(6_000))
MEMBERS = {"a.txt": TEXT, "d/b.bin": NOISE, "empty": b""}
IMAGE = NOISE[:2_560] + bytes(8_192) + b"x" * 4_608
SMALL = RequestLimits(payload_bytes=10**6, extracted_bytes=10**7, payloads=300)


def unpack(content: bytes, name: str = "x", **job_arguments: Any) -> Ran:
    """Run the worker."""
    return run(make(Decompress), payload(content, name), **job_arguments)


def an_iso(members: dict[str, bytes], *, block: int = 2048) -> bytes:
    """ISO 9660 of one flat folder, without Joliet or Rock Ridge."""

    def record(extent: int, size: int, flags: int, name: bytes) -> bytes:
        body = struct.pack("<BII", 0, extent, 0)[:5] + struct.pack(">I", extent)
        body += (
            struct.pack("<I", size) + struct.pack(">I", size) + bytes((124, 11, 25, 0, 0, 0, 0, flags, 0, 0))
        )
        body += struct.pack("<H", 1) + struct.pack(">H", 1) + bytes((len(name),)) + name
        body += b"\0" * (~len(name) & 1)
        return bytes((len(body) + 1,)) + body

    files, data, at = b"", b"", 20
    for name, content in members.items():
        files += record(at, len(content), 0, name.upper().encode())
        blocks = -(-len(content) // block)
        data += content.ljust(blocks * block, b"\0")
        at += blocks
    folder = record(19, block, 2, b"\0") + record(19, block, 2, b"\1") + files
    primary = bytearray(b"\x01CD001\x01".ljust(block, b"\0"))
    primary[128:130] = struct.pack("<H", block)
    root = record(19, block, 2, b"\0")
    primary[156 : 156 + len(root)] = root
    end = b"\xffCD001\x01".ljust(block, b"\0")
    return bytes(16 * block) + bytes(primary) + end + bytes(block) + folder.ljust(block, b"\0") + data


SAMPLES: dict[str, tuple[bytes, str]] = {
    "compress": (made.compress_z(TEXT + NOISE), "x.Z"),
    "brotli": (brotli.compress(TEXT + NOISE), "x.br"),
    "lz4": (lz4.frame.compress(TEXT + NOISE), "x.lz4"),
    "rpm": (made.rpm(made.gz(made.cpio(MEMBERS)), b"echo"), "x.rpm"),
    "cab": (made.cab(MEMBERS, mszip=True), "x.cab"),
    "arj": (made.arj(MEMBERS, method=1, pack=lambda data: made.lh5_literals(data, 5)), "x.arj"),
    "lzh": (made.lzh(MEMBERS, method=b"-lh5-", pack=made.lh5_literals), "x.lzh"),
    "xar": (made.xar(MEMBERS), "x.xar"),
    "iso": (an_iso(MEMBERS), "x.iso"),
    "dmg": (made.dmg(IMAGE), "x.dmg"),
    "vhd": (made.vhd(IMAGE, block=4096), "x.vhd"),
    "disk": (made.mbr(IMAGE), "x.img"),
}


def test_the_samples_are_whole() -> None:
    """Every sample below opens without a word, so that what is tested is the damage."""
    for form, (content, name) in SAMPLES.items():
        ran = unpack(content, name)
        assert ran.children, form
        assert not ran.reasons, (form, ran.errors)


@pytest.mark.parametrize("form", [one for one in SAMPLES if one != "compress"])
@pytest.mark.parametrize("keep", [0.4, 0.7])
def test_truncated(form: str, keep: float) -> None:
    """What is cut short is never clean: a reason, and what could be read."""
    content, name = SAMPLES[form]
    if form in ("dmg", "vhd"):
        content, keep = content[512:], 1  # their index is at the end: they lose the front
    elif form == "iso":
        keep = max(keep, 0.7)  # before that there is nothing that tells an ISO
    ran = unpack(content[: int(len(content) * keep)], name)
    assert ran.reasons & {"truncated", "corrupt"}


@pytest.mark.parametrize("form", ["lz4", "rpm", "cab", "arj", "lzh", "xar", "dmg"])
def test_corrupt(form: str) -> None:
    """A byte changed in the middle of the data is found by its checksum."""
    content, name = SAMPLES[form]
    broken = bytearray(content)
    at = {"dmg": 40, "rpm": len(content) - 200, "xar": len(content) - 300}.get(form, len(content) // 2)
    for n in range(at, at + 6):
        broken[n] ^= 0x55
    assert unpack(bytes(broken), name).reasons & {"corrupt", "truncated"}


ZEROS = bytes(40 * 2**20)
BOMBS: dict[str, Callable[[], tuple[bytes, str]]] = {
    "compress": lambda: (made.compress_z(ZEROS[: 2**21]), "x.Z"),
    "brotli": lambda: (brotli.compress(ZEROS, quality=1), "x.br"),
    "lz4": lambda: (lz4.frame.compress(ZEROS), "x.lz4"),
    "rpm": lambda: (made.rpm(lzma.compress(ZEROS)), "x.rpm"),
    "cab": lambda: (made.cab({"z": ZEROS[: 2**24]}, mszip=True), "x.cab"),
    "arj": lambda: (_lh5_zeros(made.arj), "x.arj"),
    "lzh": lambda: (_lh5_zeros(made.lzh), "x.lzh"),
    "xar": lambda: (made.xar({"z": ZEROS}, encoding="application/x-bzip2"), "x.xar"),
    "dmg": lambda: (made.dmg(b"x" * 2**24, 0x80000006), "x.dmg"),
}


def _lh5_zeros(maker: Any) -> bytes:
    """Blocks whose only symbol takes no bits: 65,535 matches of 256 bytes out of eight bytes."""
    slot_bits = 5 if maker is made.arj else 4
    blocks = f"{65_535:016b}" + "0" * 10 + f"{0:09b}{509:09b}" + "0" * (2 * slot_bits)
    bits = blocks * 4
    packed = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    if maker is made.arj:
        return made.arj({"z": ZEROS}, method=1, pack=lambda _data: packed)
    return made.lzh({"z": ZEROS[: 2**20]}, level=2, method=b"-lh5-", pack=lambda _data: packed).replace(
        struct.pack("<I", 2**20), struct.pack("<I", 2**31 - 1)
    )


@pytest.mark.parametrize("form", BOMBS)
def test_a_bomb_is_cut_off(form: str) -> None:
    """What expands beyond the limits stops there, marked, and in little time."""
    content, name = BOMBS[form]()
    began = time.process_time()
    ran = unpack(content, name, limits=RequestLimits(ratio=2, ratio_free_bytes=2**20))
    assert ran.reasons & {"ratio", "too_many_bytes"}
    made = sum(len(body) for name, body in ran.contents.items() if name != "contents.xml")
    assert made <= max(2**20, 2 * len(content))
    assert time.process_time() - began < 10


def test_overlapping_files_of_an_image_are_refused() -> None:
    """Directory entries that name the same large range again and again end with `ratio`."""
    content = bytearray(an_iso({f"f{n}": b"" for n in range(40)}))
    content += NOISE * 10
    at = 19 * 2048
    while content[at]:
        if content[at + 25] == 0:
            struct.pack_into("<I", content, at + 2, 20)
            struct.pack_into("<I", content, at + 10, 50_000)
        at += content[at]
    ran = unpack(bytes(content))
    assert "ratio" in ran.reasons
    assert sum(child.body.size for child in ran.children) < 3 * len(content) + 2**20


def test_blocks_of_a_disk_that_are_one_block() -> None:
    """A disk whose every block is the same one is refused: a few KiB would be gigabytes."""
    content = bytearray(made.vhd(b"x" * 65_536 * 64))
    first = content[1_536:1_540]
    for n in range(64):
        content[1_536 + 4 * n : 1_540 + 4 * n] = first
    assert unpack(bytes(content[:70_000] + content[-512:])).reasons == {"ratio"}


def test_folders_in_a_ring_end() -> None:
    """A folder that holds itself is walked once."""
    content = bytearray(an_iso({"a": TEXT}))
    at = 19 * 2048
    while content[at]:
        at += content[at]
    content[at : at + content[19 * 2048]] = content[19 * 2048 : 19 * 2048 + content[19 * 2048]]
    content[at + 33] = ord("r")
    assert unpack(bytes(content)).contents == {"A": TEXT}


def test_sizes_that_lie() -> None:
    """A member that claims 4 GiB gives what is there and a reason; nothing is allocated for the claim."""
    for form in ("cab", "arj", "lzh"):
        content, name = SAMPLES[form]
        lied = content.replace(struct.pack("<I", len(NOISE)), b"\xf0\xff\xff\xff", 1)
        assert lied != content
        assert unpack(lied, name).reasons & {"corrupt", "truncated"}, form


def test_absolute_and_parent_names_are_names() -> None:
    """`/etc/passwd` and `../../x` are kept as they are: they are only ever text."""
    names = {"/etc/passwd": b"1", "../../up": b"22", "C:/x": b"333"}
    for maker in (made.cab, made.arj, made.lzh, made.xar):
        assert unpack(maker(names)).contents.items() >= names.items()


def test_thousands_of_empty_members() -> None:
    """10,000 empty files are listed in linear time, and the children stop at the limit."""
    many = {f"f{n}": b"" for n in range(10_000)}
    for maker in (made.cab, made.arj, made.lzh):
        began = time.process_time()
        ran = unpack(maker(many), limits=RequestLimits(payloads=50))
        assert ran.result is not None
        assert ran.result["count"] == 10_000
        assert len(ran.children) == 50
        assert "too_many_payloads" in ran.reasons
        assert time.process_time() - began < 5


def test_an_archive_that_holds_itself_is_one_level() -> None:
    """The worker opens one level: what is inside, a copy of itself even, is the engine's to open."""
    inner = made.lzh(MEMBERS)
    assert unpack(made.cab({"again.lzh": inner})).contents == {"again.lzh": inner}


def test_entities_in_a_xar_are_refused() -> None:
    """A table of contents that declares entities is a bomb, not an archive."""
    toc = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">]><xar><toc><file><name>&a;</name></file></toc></xar>'
    packed = zlib.compress(toc)
    content = struct.pack(">4sHHQQI", b"xar!", 28, 1, len(packed), len(toc), 1) + packed
    ran = unpack(content)
    assert ran.reasons == {"corrupt"}
    assert ran.contents == {"contents.xml": toc}


def test_a_table_of_contents_that_expands_without_end() -> None:
    """A xar's table is read up to 64 MiB."""
    packed = zlib.compress(bytes(70 * 2**20))
    content = struct.pack(">4sHHQQI", b"xar!", 28, 1, len(packed), 70 * 2**20, 1) + packed
    assert unpack(content).reasons == {"too_large"}


def test_a_part_of_a_cabinet_set_is_truncated() -> None:
    """A file that goes on in another cabinet is named as unread; what this one has of it is given."""
    content = bytearray(made.cab({"a": TEXT}))
    content[44 + 8 : 44 + 10] = b"\xfe\xff"
    ran = unpack(bytes(content))
    assert ran.reasons == {"truncated"}
    assert ran.contents == {"slack of folder 0": TEXT}


def test_a_garbled_arj_with_a_wrong_password() -> None:
    """The checksum alone tells a right password: a wrong one yields nothing."""
    plain = made.arj({"a": TEXT})
    second = plain.index(b"\x60\xea", 4)
    header = bytearray(
        plain[second + 4 : second + 4 + int.from_bytes(plain[second + 2 : second + 4], "little")]
    )
    header[4] |= 1
    header[7] = 9
    key = bytes(byte + 9 & 0xFF for byte in b"two words")
    data = bytes(byte ^ key[n % len(key)] for n, byte in enumerate(TEXT))
    head = b"\x60\xea" + struct.pack("<H", len(header)) + header + struct.pack("<IH", zlib.crc32(header), 0)
    content = plain[:second] + head + data + b"\x60\xea\0\0"
    assert unpack(content).reasons == {"encrypted_archive"}
    ran = unpack(content, passwords=["wrong", "two words"])
    assert ran.contents == {"a": TEXT}
    assert ran.result is not None
    assert ran.result["password"] == "two words"


def test_an_encrypted_disk_image_says_so() -> None:
    """Apple's encrypted images are `encrypted_archive`."""
    assert unpack(b"encrcdsa" + bytes(600)).reasons == {"encrypted_archive"}


def test_slow_data_ends_with_the_time() -> None:
    """A folder that takes too long to decompress keeps what there is and says `timeout`."""
    clock = FakeClock()
    deadline = Deadline.after_ms(1_000, clock)
    content = made.cab({"a": NOISE * 40}, mszip=True)
    before = zlib.decompressobj

    def slow(*words: Any, **names: Any) -> Any:
        clock.advance(0.3)
        return before(*words, **names)

    zlib.decompressobj = slow  # type: ignore[assignment]
    try:
        ran = unpack(content, deadline=deadline)
    finally:
        zlib.decompressobj = before
    assert "timeout" in ran.reasons


def test_ordinary_files_are_left_alone() -> None:
    """Bytes that only resemble a mark are no archive, and nothing is said of them."""
    for content in (
        b"MZ" + bytes(100),
        b"\x60\xea\x90\x90" * 9,
        b"\x1f\x9d\xff\xff" * 9,
        b"a -lh5- is a method of LHA, -lz4- is another",
        b"text",
        bytes(2_000),
        b"-lh5- in a text, at no header",
        b"\x55\xaa" * 400,
    ):
        ran = unpack(content)
        assert not ran.reasons
        assert ran.result is None


@pytest.mark.parametrize(
    ("content", "label"),
    [
        (made.dmg(IMAGE, 0x80000006), "dmg"), (made.vhd(IMAGE, dynamic=False), "vhd"),
        (made.mbr(IMAGE), "disk"), (an_iso(MEMBERS), "iso"), (b"sqsh" + bytes(96), "squashfs"),
        (b"\x02\x21\x4c\x18" + bytes(9), "lz4"), (bytes(3) + b"NTFS    " + bytes(499) + b"\x55\xaa", "ntfs"),
        (bytes(54) + b"FAT16" + bytes(451) + b"\x55\xaa", "fat"),
        (bytes(1024) + b"H+\0\x04" + bytes(99), "hfs"),
        (bytes(32) + b"NXSB" + bytes(99), "apfs"), (b"xx-lh5-".ljust(20, b"x") + b"\1", "lzh"),
        (b"encrcdsa", "dmg"),
        (bytes(1080) + b"\x53\xef" + bytes(100), "ext"),
    ],
)  # fmt: skip
def test_marks(content: bytes, label: str) -> None:
    """Each format is told by its mark, at whichever end it stands."""
    assert identify(memoryview(content)).label == label


def test_every_format_is_routed() -> None:
    """Whatever a reader opens is sent to it by the shipped table; what nobody opens is a container there."""
    routes = tomllib.loads((Path(decompress.__file__).parent.parent / "routes.toml").read_text())
    for label in {*FORMATS} - {
        "upx",
        "lz4-legacy",
    }:  # a rule routes the one, a mark tells the other
        assert "decompress" in routes[label]["workers"], label
        assert routes[label]["kind"] in ("container", "encoding", "leaf"), label
    assert routes["exfat"] == {"workers": [], "kind": "container"}


def test_a_plain_scan_opens_each_level() -> None:
    """Without a flag: a cabinet in a disk in a VHD, down to the text, by types and names alone."""
    inner = made.cab({"note.txt.br": brotli.compress(TEXT)})
    found = Source({})
    found._workers, found.dispatchers = {"decompress": make(Decompress)}, (make(Filetype),)
    done = scan(found, made.vhd(made.mbr(inner)))
    path = [one.name for one in done.reports[1:]]
    assert path == ["disk.img", "1 type 0x06.img", "note.txt.br", "note.txt"]
    assert not done.unread


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(SAMPLES)),
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), max_size=4),
    st.floats(0.2, 1),
)
def test_damaged_archives_end_in_emits_or_reasons(
    form: str, damage: list[tuple[float, bytes]], keep: float
) -> None:
    """Bytes changed anywhere and a cut anywhere never raise anything else, and stay within the limits."""
    content, name = SAMPLES[form]
    broken = bytearray(content[: int(len(content) * keep)])
    for where, what in damage:
        at = int(where * len(broken))
        broken[at : at + len(what)] = what
    ran = unpack(bytes(broken), name, limits=SMALL)
    assert sum(child.body.size for child in ran.children) <= 10**7


MAGICS = [
    b"\x1f\x9d\x90", b"\x04\x22\x4d\x18", b"\x02\x21\x4c\x18", b"\xed\xab\xee\xdb", b"MSCF\0\0\0\0",
    b"\x60\xea", b"\x20\x20-lh5-", b"xar!\0\x1c\0\1", b"hsqs", b"vhdxfile", b"conectix", b"encrcdsa",
    bytes(7) + b"**ACE**", bytes(510) + b"\x55\xaa",
]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(MAGICS), st.binary(max_size=800))
def test_any_bytes(magic: bytes, rest: bytes) -> None:
    """Arbitrary bytes behind any magic end in emits or a reason."""
    unpack(magic + rest, limits=SMALL)


@given(st.binary(max_size=300))
def test_any_output_of_7zip_is_read(output: bytes) -> None:
    """Whatever stands in a listing becomes members or nothing."""
    listed = parse_listing(b"\n----------\n" + output)
    assert all(member.size >= 0 for member, _, _ in listed)


@given(st.binary(max_size=200))
def test_any_rar_header_is_looked_at(rest: bytes) -> None:
    """The look for the volume flag changes at most the header, never the length."""
    for magic in (b"Rar!\x1a\x07\x00", b"Rar!\x1a\x07\x01\x00"):
        assert alone(Body(magic + rest)).size == len(magic) + len(rest)


@given(st.binary(max_size=300))
def test_any_adc(data: bytes) -> None:
    """ADC of any bytes ends in bytes or `corrupt`."""
    made_bytes = 0
    with suppress(BadArchive):
        for chunk in adc(memoryview(data)):
            made_bytes += len(chunk)
    assert made_bytes <= 67 * len(data)


def test_bits_and_codes() -> None:
    """Bits come from the top; codes that contradict each other are refused."""
    bits = Bits(b"\xa5\x0f")
    assert [bits.read(4) for _ in range(4)] == [0xA, 0x5, 0x0, 0xF]
    assert bits.position == 16
    table = codes([1, 2, 2])
    reader = Bits(b"\x58")  # 0, 10, 11, 0
    assert [reader.symbol(table) for _ in range(4)] == [0, 1, 2, 0]
    for wrong in ([1, 1, 1], [2, 2, 2]):
        with pytest.raises(BadArchive):
            codes(wrong)


def test_bzip2_in_a_xar_has_its_limits() -> None:
    """A member's own compression is counted as any other."""
    content = made.xar({"z": ZEROS[: 2**22]}, encoding="application/x-bzip2")
    assert len(bz2.compress(ZEROS[: 2**22])) < 1_000
    ran = unpack(content, limits=RequestLimits(payload_bytes=2**20))
    assert ran.reasons == {"too_large"}
    assert len(ran.contents["z"]) == 2**20
