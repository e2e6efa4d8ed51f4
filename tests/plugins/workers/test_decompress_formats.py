"""The same content in as many formats as can be made: the same members come out of each."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import brotli
import lz4.block
import lz4.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins._formats.archives.by_tool import read_by_7z
from plugins._formats.archives.quantum import Quantum
from plugins._formats.archives.rarvolume import end_of_rar
from plugins.workers.decompress import Decompress
from stoq_core.testing import Ran, job, make, payload, run
from stoq_core.tools import LocalTools
from tests import samples
from tests.plugins.workers import archive_makers as made

_RANDOM = random.Random(7)
TEXT = b"".join(b"line %d of a text that compresses\n" % n for n in range(3_000))
NOISE = _RANDOM.randbytes(70_000)
MEMBERS = {"a.txt": TEXT, "d/b.bin": NOISE, "empty": b""}
IMAGE = NOISE[:51_200] + bytes(51_200) + b"x" * 51_200


def unpack(content: bytes, name: str = "x", **job_arguments: Any) -> Ran:
    """Run the worker."""
    return run(make(Decompress), payload(content, name), **job_arguments)


def unpacked(content: bytes, name: str = "x") -> dict[str, bytes]:
    """The members, where nothing was wrong; a xar's list of them is a child, too."""
    ran = unpack(content, name)
    assert not ran.reasons, ran.errors
    return {name: body for name, body in ran.contents.items() if name != "contents.xml"}


BUILT: dict[str, Callable[[], bytes]] = {
    "cab": lambda: made.cab(MEMBERS),
    "cab mszip": lambda: made.cab(MEMBERS, mszip=True),
    "arj stored": lambda: made.arj(MEMBERS),
    "arj 1": lambda: made.arj(MEMBERS, method=1, pack=lambda data: made.lh5_literals(data, 5)),
    "lzh level 0": lambda: made.lzh(MEMBERS, level=0),
    "lzh level 1": lambda: made.lzh(MEMBERS, level=1),
    "lzh level 2": lambda: made.lzh(MEMBERS, level=2),
    "lzh lh5": lambda: made.lzh(MEMBERS, method=b"-lh5-", pack=made.lh5_literals),
    **{
        f"xar {encoding}": lambda encoding=encoding: made.xar(MEMBERS, encoding=encoding)  # type: ignore[misc]
        for encoding in (
            "application/x-gzip", "application/x-bzip2", "application/x-xz", "application/x-lzma",
            "application/octet-stream",
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("form", BUILT)
def test_built_archives(form: str) -> None:
    """Archives built here give the members."""
    assert unpacked(BUILT[form]()) == MEMBERS


def _tree(folder: Path) -> Path:
    for name, content in MEMBERS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


TOOLS: dict[str, tuple[str, list[str], str]] = {
    "iso rock ridge": ("genisoimage", ["-quiet", "-R", "-o", "OUT", "SRC"], "genisoimage"),
    "iso joliet": ("genisoimage", ["-quiet", "-J", "-o", "OUT", "SRC"], "genisoimage"),
    "iso both, udf": ("genisoimage", ["-quiet", "-R", "-J", "-udf", "-o", "OUT", "SRC"], "genisoimage"),
    **{
        f"squashfs {name}": (
            "mksquashfs", ["SRC", "OUT", "-comp", name, "-quiet", "-no-progress"], "squashfs-tools")
        for name in ("gzip", "lzma", "xz", "lz4", "zstd", "lzo")
    },
    "wim": ("7z", ["a", "-twim", "-bso0", "OUT", "./a.txt", "./d", "./empty"], "p7zip-full"),
    "7z bcj2": ("7z", ["a", "-t7z", "-m0=BCJ2", "-m1=LZMA", "-m2=LZMA", "-m3=LZMA", "-mb0:1", "-mb0s1:2",
                       "-mb0s2:3", "-bso0", "OUT", "./a.txt", "./d", "./empty"], "p7zip-full"),
    "zip ppmd": ("7z", ["a", "-tzip", "-mm=PPMd", "-bso0", "OUT", "./a.txt", "./d", "./empty"], "p7zip-full"),
    **{
        f"arj {method}": ("arj", ["a", "-r", "-y", f"-m{method}", "OUT", "a.txt", "d/b.bin", "empty"], "arj")
        for method in range(5)
    },
    "xar of bsdtar": ("bsdtar", ["--format", "xar", "-cf", "OUT", "a.txt", "d/b.bin", "empty"],
                      "libarchive-tools"),
}  # fmt: skip


@pytest.mark.parametrize("form", TOOLS)
def test_archives_of_other_programs(form: str, tmp_path: Path) -> None:
    """Archives that the formats' own programs write give the members."""
    program, words, package = TOOLS[form]
    if shutil.which(program) is None:
        pytest.skip(f"{program} writes this one: apt-get install {package}")
    source = _tree(tmp_path / "src")
    out = tmp_path / ("out." + form.split(maxsplit=1)[0])
    command = [program, *(str(out) if w == "OUT" else str(source) if w == "SRC" else w for w in words)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    found = unpacked(out.read_bytes(), out.name)
    if form == "xar of bsdtar":
        found.pop("tail", None)  # libarchive leaves the beginning of its list behind the heap
    assert found == MEMBERS


STREAMS: dict[str, Callable[[bytes], bytes]] = {
    "f.txt.lz4": lz4.frame.compress,
    "f.txt.br": brotli.compress,
    "f.txt.Z": made.compress_z,
    "f.txt.gz": gzip.compress,
    "f.txt.bz2": bz2.compress,
    "f.txt.xz": lzma.compress,
}


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("content", [TEXT, NOISE, b"x"], ids=["text", "noise", "byte"])
def test_streams(name: str, content: bytes) -> None:
    """One member without the suffix; a stream that is cut short says so."""
    packed = STREAMS[name](content)
    assert unpacked(packed, name) == {"f.txt": content}
    if name != "f.txt.Z" and len(content) > 1:  # compress has no end mark and no length
        cut = unpack(packed[: len(packed) // 2], name)
        assert cut.reasons & {"truncated", "corrupt"}


def test_brotli_whose_tables_are_large() -> None:
    """A stream whose first block begins with kilobytes of tables is told as brotli, too."""
    content = b"".join(Path(one).read_bytes() for one in (brotli.__file__, sys.executable))[:3_000_000]
    assert unpacked(brotli.compress(content, quality=5), "x.br") == {"x": content}


def test_brotli_needs_its_name() -> None:
    """A name alone makes no brotli: what does not decode is left alone, and nothing is reported."""
    assert not unpack(brotli.compress(TEXT), "f.bin").children
    ran = unpack(b"plain text that is no brotli stream", "notes.br")
    assert not ran.children
    assert not ran.reasons
    asked = unpack(brotli.compress(TEXT), "f.bin", dispatch_meta=[{"filetype": "brotli"}])
    assert asked.contents == {"f.bin.out": TEXT}


def test_lz4_legacy_and_joined_frames() -> None:
    """The kernel's old frames, several blocks of them, and frames one behind the other."""
    blocks = b""
    for at in range(0, len(TEXT), 40_000):
        block = lz4.block.compress(TEXT[at : at + 40_000], store_size=False)
        blocks += len(block).to_bytes(4, "little") + block
    assert unpacked(b"\x02\x21\x4c\x18" + blocks, "k.lz4") == {"k": TEXT}
    joined = unpacked(lz4.frame.compress(TEXT) + lz4.frame.compress(NOISE), "k.lz4")
    assert joined == {"k": TEXT + NOISE, "k.part1": TEXT, "k.part2": NOISE}


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_compress_with_fewer_bits(bits: int) -> None:
    """Tables of any size, full ones included."""
    assert unpacked(made.compress_z(NOISE, bits), "n.Z") == {"n": NOISE}


def test_compress_as_compress_writes_it(tmp_path: Path) -> None:
    """What compress(1) writes, with cleared tables."""
    if shutil.which("compress") is None:
        pytest.skip("compress writes these: apt-get install ncompress")
    content = Path(sys.executable).resolve().read_bytes()[:3_000_000]
    packed = subprocess.run(["compress", "-c"], input=content, check=True, capture_output=True).stdout
    assert unpacked(packed, "python.Z") == {"python": content}


@pytest.mark.parametrize("pack", [bytes, made.gz, bz2.compress, lzma.compress], ids=["", "gz", "bz2", "xz"])
def test_rpm(pack: Callable[[bytes], bytes]) -> None:
    """The payload comes out decompressed, as a cpio with the members; scripts are children, too."""
    found = unpacked(made.rpm(pack(made.cpio(MEMBERS)), b"echo hello"))
    assert found["scripts/prein"] == b"echo hello"
    assert unpacked(found["sample-1.0.cpio"]) == MEMBERS
    behind = unpacked(made.rpm(pack(made.cpio(MEMBERS)), b"echo hello") + BEHIND)
    assert any(one.endswith(BEHIND[2:]) for one in behind.values())


@pytest.mark.parametrize("kind", [1, 0x80000004, 0x80000005, 0x80000006, 0x80000008])
def test_dmg(kind: int) -> None:
    """Each compression of chunks gives the partition, even where the image begins like another format."""
    assert unpacked(made.dmg(IMAGE, kind)) == {"disk.img": IMAGE}


@pytest.mark.parametrize("dynamic", [True, False])
def test_vhd(dynamic: bool) -> None:
    """The disk, with what was left out as zeros."""
    assert unpacked(made.vhd(IMAGE, dynamic=dynamic)) == {"disk.img": IMAGE}


@pytest.mark.parametrize("form", ["vpc", "vhdx"])
def test_virtual_disks_of_qemu(form: str, tmp_path: Path) -> None:
    """What qemu-img writes gives the disk back, up to its rounding."""
    if shutil.which("qemu-img") is None:
        pytest.skip("qemu-img writes these: apt-get install qemu-utils")
    raw = made.mbr(IMAGE).ljust(9 * 2**20, b"\0")
    (tmp_path / "raw").write_bytes(raw)
    command = ["qemu-img", "convert", "-f", "raw", "-O", form, "raw", "out"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    found = unpacked((tmp_path / "out").read_bytes())["disk.img"]
    assert found.ljust(len(raw), b"\0")[: len(raw)] == raw


def test_a_large_sparse_disk_ends_with_its_last_block() -> None:
    """A disk of 1 GiB with little in it is no bomb: it is cut behind what is there."""
    content = bytearray(made.vhd(IMAGE))
    for footer in (0, len(content) - 512):
        content[footer + 48 : footer + 56] = (2**30).to_bytes(8, "big")
        content[footer + 40 : footer + 48] = (2**30).to_bytes(8, "big")
    assert unpacked(bytes(content))["disk.img"] == IMAGE.ljust(196_608, b"\0")


def test_partitions() -> None:
    """Each partition of a disk is an image of its own."""
    assert unpacked(made.mbr(IMAGE)) == {"1 type 0x06.img": IMAGE}


def test_the_file_system_in_a_partition(tmp_path: Path) -> None:
    """FAT, in a partition, in a VHD: each level is a child of the last, down to the files."""
    if shutil.which("mkfs.vfat") is None or shutil.which("mcopy") is None or shutil.which("7z") is None:
        pytest.skip("these make and open a FAT image: apt-get install dosfstools mtools p7zip-full")
    image = tmp_path / "fat.img"
    image.write_bytes(bytes(2**20))
    subprocess.run(["mkfs.vfat", str(image)], check=True, capture_output=True)
    (tmp_path / "a.txt").write_bytes(TEXT)
    subprocess.run(["mcopy", "-i", "fat.img", "a.txt", "::a.txt"], cwd=tmp_path, check=True)
    disk = unpacked(made.vhd(made.mbr(image.read_bytes())))["disk.img"]
    partition = unpacked(disk)["1 type 0x06.img"]
    assert {name.lower(): content for name, content in unpacked(partition).items()} == {"a.txt": TEXT}


@pytest.mark.parametrize(
    "name", ["t.ace", "t.arj", "t.cab", "t.cbt", "t.cbz", "t.iso", "t.lha", "t.lzh", "t.tar", "t.zip"]
)
def test_real_archives(name: str) -> None:
    """Patool's samples, each with one small text in a folder."""
    if name == "t.ace":
        pytest.importorskip("acefile", reason="acefile opens these: it is in requirements-image.txt")
    found = unpacked(samples.content("patool", name), name)
    assert {key.lower(): value.strip() for key, value in found.items()} == {"t/t.txt": b"42"}


@pytest.mark.parametrize("name", ["t.rar", "t.wim", "t.vhd"])
def test_real_archives_of_programs(name: str) -> None:
    """Patool's samples that a program opens, or that hold a disk."""
    _needs("7z", "unar")
    assert unpack(samples.content("patool", name), name).children


def _needs(*programs: str) -> None:
    packages = {"7z": "p7zip-full", "unar": "unar"}
    lacking = [packages[one] for one in programs if shutil.which(one) is None]
    if lacking:
        pytest.skip(f"these programs open it: apt-get install {' '.join(lacking)}")


def test_lzx_of_a_real_cabinet() -> None:
    """Microsoft's own cabinet, LZX with translated calls: the same bytes as 7-Zip gives."""
    _needs("7z")
    content = samples.content("hachoir", "georgia.cab")
    ours = unpack(content)
    assert ours.result is not None
    assert {one["method"] for one in ours.result["members"]} == {"lzx"}
    work = job(make(Decompress))
    theirs = {
        entry.member.name: b"".join(bytes(chunk) for chunk in entry.open(()))
        for entry in read_by_7z(work, payload(content), "cab", ())
        if entry.open
    }
    assert ours.contents == theirs


RARS = {
    "rar3-solid.rar": {"stest1.txt": 2048, "stest2.txt": 2048},
    "rar5-solid.rar": {"stest1.txt": 2048, "stest2.txt": 2048},
    "rar3-subdirs.rar": {
        "sub/dir1/file1.txt": 6, "sub/dir2/file2.txt": 6, "sub/with space/long fn.txt": 8,
        "sub/üȵĩöḋè/file.txt": 5, "gap": 67,
    },
    "rar5-symlink-unix.rar": {"data.txt": 5},
    "rar5-hlink.rar": {"stest1.txt": 2048},
    "unicode.rar": {"уииоотивл.txt": 2, "\U0001d400\U0001d401\U0001d401\U0001d402.txt": 2},
}  # fmt: skip


@pytest.mark.parametrize("name", RARS)
def test_rar(name: str) -> None:
    """Rarfile's samples of RAR 3 and 5: solid, folders, Unicode, links listed and not followed."""
    _needs("7z", "unar")
    found = unpacked(samples.content("rarfile", name), name)
    assert {key: len(value) for key, value in found.items()} == RARS[name]


@pytest.mark.parametrize("name", ["rar5-psw.rar", "rar5-hpsw.rar", "rar202-comment-psw.rar"])
def test_encrypted_rar(name: str) -> None:
    """Without the password a reason and no empty file; with it the members, and it is in the result."""
    _needs("7z", "unar")
    content = samples.content("rarfile", name)
    worker = make(Decompress, usual_passwords=False)
    closed = run(worker, payload(content), passwords=["wr ong", "-bad"])
    assert closed.reasons == {"encrypted_archive"}
    assert not closed.children
    ran = run(worker, payload(content), passwords=["wr ong", "-bad", "password"])
    assert not ran.reasons
    assert all(ran.contents.values())
    assert ran.result is not None
    assert ran.result["password"] == "password"


BEHIND = b"\0\0" + b"PK and other words behind the end " * 2


@pytest.mark.parametrize(
    ("source", "name"),
    [
        *(("patool", name) for name in ("t.arj", "t.cab", "t.lzh", "t.rar")),
        *(
            ("rarfile", name)
            for name in ("rar15-comment.rar", "rar202-comment-nopsw.rar", "rar3-subdirs.rar")
        ),
        *(("rarfile", name) for name in ("rar3-comment-plain.rar", "rar5-solid.rar", "rar5-crc.rar")),
    ],
)
def test_bytes_behind_an_archive_are_a_child(source: str, name: str) -> None:
    """Programs stop at the end mark; what stands behind it and its zeros is scanned all the same."""
    _needs("7z", "unar")
    content = samples.content(source, name)
    alone, more = unpack(content, name), unpack(content + BEHIND, name)
    assert "tail" not in alone.contents
    assert more.contents == {**alone.contents, "tail": BEHIND[2:]}
    assert more.reasons == alone.reasons


@given(st.sampled_from([b"Rar!\x1a\x07\x01\x00", b"Rar!\x1a\x07\x00"]), st.binary(max_size=300))
def test_the_end_of_a_rar_that_is_none(mark: bytes, content: bytes) -> None:
    """Within the bytes, whatever they say; and for all cuts of a real one."""
    for one in (mark + content, mark + bytes(12) + content):
        end = end_of_rar(memoryview(one))
        assert end is None or 0 <= end <= len(one)


@pytest.mark.parametrize("name", ["rar3-subdirs.rar", "rar5-solid.rar", "rar5-hpsw.rar"])
def test_the_end_of_a_rar_that_is_cut(name: str) -> None:
    """No block ends behind the bytes; where headers are encrypted, nobody knows."""
    content = samples.content("rarfile", name)
    for size in range(8, len(content), 7):
        end = end_of_rar(memoryview(content)[:size])
        assert end is None or end <= size
    assert end_of_rar(memoryview(content)) == (None if "hpsw" in name else len(content))


def test_one_volume_of_a_rar_is_truncated() -> None:
    """Programs must not look for the other volumes beside it; what this one holds comes out."""
    _needs("7z", "unar")
    ran = unpack(samples.content("rarfile", "rar3-vols.part1.rar"))
    assert "truncated" in ran.reasons
    assert [child.body.size for child in ran.children] == [102_310]
    assert ran.result is not None
    assert ran.result["count"] == 1


@pytest.mark.parametrize(
    ("form", "password"),
    [
        *(
            (form, one)
            for form in ("zip", "7z")
            for one in ("two words", "-leading", "@list", '"quoted"', "a$b*?")
        ),
        ("7z", "ünï cödé"),
    ],
)
def test_passwords_of_any_kind(form: str, password: str, tmp_path: Path) -> None:
    """A password with a space, a dash or an at sign reaches 7-Zip as it is, for methods only it reads."""
    _needs("7z")
    (tmp_path / "a.txt").write_bytes(TEXT)
    words = ["-mm=PPMd"] if form == "zip" else ["-m0=BCJ2", "-m1=LZMA", "-m2=LZMA", "-m3=LZMA", "-mb0:1",
                                                "-mb0s1:2", "-mb0s2:3"]  # fmt: skip
    command = ["7z", "a", f"-t{form}", f"-p{password}", *words, "-bso0", "out", "a.txt"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    content = next(tmp_path.glob("out*")).read_bytes()
    assert unpack(content, passwords=["wrong"]).reasons == {"encrypted_archive"}
    ran = unpack(content, passwords=["wrong", password])
    assert ran.contents == {"a.txt": TEXT}
    assert ran.result is not None
    assert ran.result["password"] == password


@pytest.mark.parametrize("form", ["rar", "wim"])
def test_a_missing_program_leaves_the_archive_unread(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without 7-Zip or unar the reason is `plugin_missing`, so the verdict is never clean."""
    monkeypatch.setattr(LocalTools, "run", LocalTools({}, allowed=()).run.__func__)  # type: ignore[attr-defined]
    monkeypatch.setattr("stoq_core.tools.SEARCHED", ("/nowhere",))
    content = {"rar": b"Rar!\x1a\x07\x01\x00", "wim": b"MSWIM\0\0\0"}[form] + bytes(300)
    ran = unpack(content)
    assert ran.reasons == {"plugin_missing"}
    assert [one.code for one in ran.errors] == ["tool_missing"]


def test_upx() -> None:
    """A program that UPX packed is unpacked, or named as unread where upx is not installed."""
    sample = Path("/usr/share/clamav-testfiles/clam-upx.exe")
    if not sample.exists():
        pytest.skip("a program that UPX packed: apt-get install clamav-testfiles")
    ran = unpack(sample.read_bytes())
    if shutil.which("upx") is None:
        assert ran.reasons == {"plugin_missing"}
    else:
        assert [child.body.size for child in ran.children] == [6656]


def test_quantum_keeps_its_models_across_blocks() -> None:
    """Literals and a match, coded here by the same arithmetic, come back; block after block."""
    coder = _QuantumCoder(15)
    first, second = b"abcabcabc" * 3, bytes(range(200))
    packed = [coder.block(first), coder.block(second)]
    decoder = Quantum(15)
    assert decoder.block(packed[0], len(first)) == first
    assert decoder.block(packed[1], len(second)) == second


class _QuantumCoder:
    """The encoder's half of the arithmetic coder, over the decoder's models; literals alone."""

    def __init__(self, window_bits: int) -> None:
        self._models = Quantum(window_bits)

    def block(self, content: bytes) -> bytes:
        self._low, self._high, self._pending, self._bits = 0, 0xFFFF, 0, list[int]()
        for byte in content:
            self._symbol(self._models._selector, byte >> 6)
            self._symbol(self._models._literals[byte >> 6], byte)
        self._pending += 1
        self._emit(int(self._low >= 0x4000))
        text = "".join(map(str, self._bits)).ljust(-(-len(self._bits) // 8) * 8 + 16, "0")
        return int(text, 2).to_bytes(len(text) // 8, "big")

    def _symbol(self, model: Any, symbol: int) -> None:
        index = model.symbols.index(symbol)
        span, total = self._high - self._low + 1, model.sums[0]
        self._high = self._low + model.sums[index] * span // total - 1
        self._low += model.sums[index + 1] * span // total
        model.seen(index)
        while True:
            if not (self._low ^ self._high) & 0x8000:
                self._emit(self._low >> 15)
            elif self._low & 0x4000 and not self._high & 0x4000:
                self._pending += 1
                self._low &= 0x3FFF
                self._high |= 0x4000
            else:
                return
            self._low = self._low << 1 & 0xFFFF
            self._high = (self._high << 1 | 1) & 0xFFFF

    def _emit(self, bit: int) -> None:
        self._bits += [bit] + [1 - bit] * self._pending
        self._pending = 0
