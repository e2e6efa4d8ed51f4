"""Archives: whole, encrypted, damaged and hostile ones, all built here."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess
import tarfile
import zipfile
from typing import Any

import py7zr
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.local.samples import bomb, encrypted_zip, zipped
from plugins.workers.decompress import Decompress
from stoq_core.errors import Reason
from stoq_core.limits import RequestLimits
from stoq_core.testing import Ran, make, payload, run

A, B = b"hello " * 200, os.urandom(300)
MEMBERS = {"a.txt": A, "d/b.bin": B}


def unpack(content: bytes, name: str = "x", **job: Any) -> Ran:
    """Run the worker."""
    return run(make(Decompress), payload(content, name), **job)


def a_zip(method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of the two members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as made:
        for name, content in MEMBERS.items():
            made.writestr(name, content)
    return out.getvalue()


def a_tar(kind: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of the two members, a link and a device."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as made:
        for name, content in MEMBERS.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
        for name, what in (("link", tarfile.SYMTYPE), ("dev", tarfile.CHRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = what, "/etc/passwd"
            made.addfile(info)
    return out.getvalue()


def a_7z(password: str | None = None, *, headers: bool = False) -> bytes:
    """A 7z of the two members."""
    out = io.BytesIO()
    with py7zr.SevenZipFile(out, "w", password=password, header_encryption=headers) as made:
        for name, content in MEMBERS.items():
            made.writestr(content, name)
    return out.getvalue()


def an_ar() -> bytes:
    """A GNU ar of the two members."""
    out = b"!<arch>\n"
    for name, content in (("a.txt/", A), ("b.bin/", B)):
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'644':<8}{len(content):<10}`\n".encode() + content
        out += b"\n" * (len(content) & 1)
    return out


def a_cpio() -> bytes:
    """A newc cpio of the two members."""
    out = b""
    for name, content in (*MEMBERS.items(), ("TRAILER!!!", b"")):
        fields = [1, 0o100644, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0]
        head = b"070701" + b"".join(b"%08X" % one for one in fields) + name.encode() + b"\0"
        out += head + b"\0" * (-len(head) % 4) + content + b"\0" * (-len(content) % 4)
    return out


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_zip_methods(method: int) -> None:
    """Every method gives the members' bytes."""
    ran = unpack(a_zip(method))
    assert ran.contents == MEMBERS
    assert not ran.reasons


@pytest.mark.parametrize(
    "content",
    [a_7z(), a_tar(), a_tar(tarfile.GNU_FORMAT), a_tar(tarfile.USTAR_FORMAT), a_cpio()],
    ids=["7z", "pax", "gnu", "ustar", "cpio"],
)
def test_archives_give_the_same_members(content: bytes) -> None:
    """The same content in different formats gives the same children."""
    ran = unpack(content)
    assert ran.contents == MEMBERS
    assert not ran.reasons


def test_ar() -> None:
    """Ar members by their GNU names."""
    assert unpack(an_ar()).contents == {"a.txt": A, "b.bin": B}


def test_links_and_devices_are_listed_not_followed() -> None:
    """They are members with their kind, and no children."""
    ran = unpack(a_tar())
    assert ran.result is not None
    assert [one.get("kind", "file") for one in ran.result["members"]] == ["file", "file", "symlink", "device"]


@pytest.mark.parametrize(
    ("compress", "name"),
    [
        (gzip.compress, "f.txt.gz"), (bz2.compress, "f.txt.bz2"), (lzma.compress, "f.txt.xz"),
        (lambda b: lzma.compress(b, lzma.FORMAT_ALONE), "f.txt.lzma"),
    ],
)  # fmt: skip
def test_streams(compress: Any, name: str) -> None:
    """One member named after the file; what follows the stream is a child of its own; a cut one says so."""
    assert unpack(compress(A), name).contents == {"f.txt": A}
    assert unpack(compress(A) + b"behind the stream", name).contents == {
        "f.txt": A,
        "tail": b"behind the stream",
    }
    cut = unpack(compress(os.urandom(5000))[:-40], name)
    assert "truncated" in cut.reasons


def test_bytes_behind_a_7z_are_a_child() -> None:
    """Also where no password opens the archive."""
    ran = unpack(a_7z() + b"appended bytes " * 3)
    assert ran.contents == {**MEMBERS, "tail": b"appended bytes " * 3}
    locked = unpack(a_7z("two words", headers=True) + b"appended bytes " * 3)
    assert locked.contents == {"tail": b"appended bytes " * 3}
    assert locked.reasons == {"encrypted_archive"}
    assert "tail" not in unpack(a_7z()).contents


def test_prepended_and_trailing_bytes_are_children() -> None:
    """A self-extracting zip gives its stub and what was appended, too."""
    ran = unpack(b"MZ" + b"stub" * 20 + a_zip() + b"appended bytes " * 3)
    assert ran.contents == {**MEMBERS, "lead": b"MZ" + b"stub" * 20, "tail": b"appended bytes " * 3}


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
def test_a_truncated_zip_gives_what_is_there(keep: float) -> None:
    """What could be read, plus a reason."""
    whole = a_zip(zipfile.ZIP_STORED)
    ran = unpack(whole[: int(len(whole) * keep)])
    assert ran.contents["a.txt"] == A[: len(ran.contents["a.txt"])]
    assert ran.reasons & {"truncated", "corrupt"}


def test_a_wrong_checksum_is_corrupt() -> None:
    """A member whose CRC does not hold is kept and reported."""
    broken = bytearray(a_zip(zipfile.ZIP_STORED))
    broken[40] ^= 1
    assert "corrupt" in unpack(bytes(broken)).reasons


def test_encrypted_zip_without_password() -> None:
    """`encrypted_archive`, and never a file of garbage."""
    ran = run(make(Decompress, usual_passwords=False), encrypted_zip())
    assert ran.reasons == {"encrypted_archive"}
    assert not ran.children


@pytest.mark.parametrize("headers", [False, True])
def test_encrypted_7z(headers: bool) -> None:
    """Without the password a reason, with it the members and nothing that a wrong one made of them."""
    content = a_7z("two words", headers=headers)
    assert unpack(content).reasons == {"encrypted_archive"}
    ran = unpack(content, passwords=["wrong", "two words"])
    assert ran.contents == MEMBERS
    assert len(ran.children) == len(MEMBERS)
    assert ran.result is not None
    assert ran.result["password"] == "two words"


@pytest.mark.parametrize("encryption", ["ZipCrypto", "AES256"])
def test_encrypted_zips_of_another_program(encryption: str, tmp_path: Any) -> None:
    """Both encryptions, as 7-Zip writes them, are opened by the right password only."""
    program = next((one for one in ("7zz", "7z", "7za") if _there(one)), None)
    if program is None:
        pytest.skip("7-Zip writes these: apt-get install p7zip-full")
    (tmp_path / "a.txt").write_bytes(A)
    command = [program, "a", "-tzip", "-psesame", f"-mem={encryption}", "out.zip", "a.txt"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    content = (tmp_path / "out.zip").read_bytes()
    assert unpack(content).reasons == {"encrypted_archive"}
    assert unpack(content, passwords=["sesame"]).contents == {"a.txt": A}


def _there(program: str) -> bool:
    import shutil

    return shutil.which(program) is not None


def test_overlapping_members_are_refused() -> None:
    """Many directory entries over the same data (Fifield) are not taken apart again and again.

    Those that are the same to the last field are one; a few that differ are read, however they overlap.
    """
    content = zipped(a=b"x" * 1000)
    central = content.index(b"PK\x01\x02")
    end = content.index(b"PK\x05\x06")
    entry = content[central:end]
    count = 50
    tail = bytearray(content[end:])
    tail[8:10] = tail[10:12] = count.to_bytes(2, "little")
    tail[12:16] = (len(entry) * count).to_bytes(4, "little")
    ran = unpack(content[:central] + entry * count + bytes(tail))
    assert len(ran.children) == 1
    others = b"".join(entry[:20] + (1000 + n).to_bytes(4, "little") + entry[24:] for n in range(count))
    ran = unpack(content[:central] + others + bytes(tail))
    assert 1 < len(ran.children) < 20
    assert "ratio" in ran.reasons


def test_a_bomb_is_cut_off() -> None:
    """400 MiB of zeros stop at the ratio, marked."""
    ran = unpack(bomb(100), limits=RequestLimits(ratio=100, ratio_free_bytes=2**20))
    assert ran.reasons == {"ratio"}
    assert ran.children[0].body.size < 15 * 2**20


def test_many_members_are_listed_when_no_child_fits_any_more() -> None:
    """Past `limits.payloads` no child is made, but the listing goes on and the reason is there."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for n in range(500):
            made.writestr(f"{n}", b"%d" % n)
    ran = unpack(out.getvalue(), limits=RequestLimits(payloads=20))
    assert len(ran.children) == 20
    assert ran.result is not None
    assert ran.result["count"] == 500
    assert ran.error is not None
    assert ran.error.reason is Reason.TOO_MANY_PAYLOADS


WHOLE = [a_zip(), a_tar(), a_7z(), a_cpio(), an_ar(), gzip.compress(A), lzma.compress(A), encrypted_zip()]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), max_size=4),
    st.floats(0.2, 1),
)
def test_damaged_archives_end_in_emits_or_reasons(
    whole: bytes, damage: list[tuple[float, bytes]], keep: float
) -> None:
    """Bytes changed anywhere and a cut anywhere never raise anything else, and stay within the limits."""
    broken = bytearray(whole[: int(len(whole) * keep)])
    for where, what in damage:
        at = int(where * len(broken))
        broken[at : at + len(what)] = what
    ran = unpack(bytes(broken), limits=RequestLimits(payload_bytes=10**6, extracted_bytes=10**7))
    assert sum(child.body.size for child in ran.children) <= 10**7


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([b"", b"PK\x03\x04", b"7z\xbc\xaf\x27\x1c", b"\x1f\x8b\x08", b"070701", b"!<arch>\n"]),
    st.binary(max_size=600),
)
def test_any_bytes(magic: bytes, rest: bytes) -> None:
    """Arbitrary bytes behind any magic end in emits or a reason."""
    unpack(magic + rest)
