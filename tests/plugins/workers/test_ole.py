"""Compound files: every stream, packed files, encrypted documents, hostile chains and trees."""

from __future__ import annotations

import io
import os
import struct
import time
from typing import Any

import olefile
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins._formats.office.compound import Compound, visible
from plugins.workers.ole import Ole
from stoq_core.limits import RequestLimits
from stoq_core.testing import Ran, make, payload, run
from tests import samples
from tests.office_files import compound, document, ole10_native

BIG = os.urandom(5_000)


def scan(content: bytes, **job: Any) -> Ran:
    """Run the worker."""
    return run(make(Ole), payload(content, "d.doc"), **job)


def patched(content: bytes, at: int, value: int, size: int = 4) -> bytes:
    """The bytes with a number set."""
    return content[:at] + value.to_bytes(size, "little") + content[at + size :]


def directory_at(content: bytes) -> int:
    """Where the directory begins."""
    (sector,) = struct.unpack_from("<I", content, 48)
    return int((sector + 1) * 512)


def test_every_stream_with_its_path_and_index() -> None:
    """Small and large streams, in storages too, whole; storages as paths."""
    streams = {"a": b"small", "S/b": BIG, "S/T/\x05c": b"x" * 70, "empty": b""}
    ran = scan(compound(streams))
    assert [(one.meta.extra_data["path"], one.body.content()) for one in ran.children] == [
        ("a", b"small"), ("S/b", BIG), ("S/T/[5]c", b"x" * 70),
    ]  # fmt: skip
    assert ran.result is not None
    assert ran.result["storages"] == ["S", "S/T"]
    assert [one["path"] for one in ran.result["streams"]] == ["a", "S/b", "S/T/[5]c", "empty"]
    assert len({one.meta.extra_data["index"] for one in ran.children}) == 3
    assert not ran.reasons


def test_the_library_sees_the_same() -> None:
    """On every real compound file the streams are those that olefile reads."""
    for file in (*samples.files("oletools"), *samples.files("clamav"), *samples.files("mail-parser")):
        content = file.read_bytes()
        if content[:8] != b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":
            continue
        ours = Compound(memoryview(content))
        theirs = olefile.OleFileIO(io.BytesIO(content))
        assert {one.path for one in ours.streams if not one.orphan} == {
            tuple(one) for one in theirs.listdir()
        }, file
        for entry in ours.streams:
            if not entry.orphan:
                assert ours.read(entry) == theirs.openstream(list(entry.path)).read(), (file, entry.path)
        theirs.close()


@pytest.mark.parametrize("size", [8, 100, 511, 512, 1535])
def test_short_bytes_are_never_a_path(size: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes under 1,536, which the library takes for a file's name, are bytes; so are those that name a file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_bytes(document({"A": "x"}))
    opened: list[Any] = []
    monkeypatch.setattr("builtins.open", lambda *a, **k: opened.append(a) or pytest.fail(f"opened {a}"))
    content = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".ljust(size, b"a")
    ran = scan(content)
    assert ran.error is not None
    assert ran.error.reason in ("corrupt", "truncated")
    assert not scan(b"secret").children
    assert not opened


def test_a_packed_file_has_its_own_name() -> None:
    """Ole10Native is unwrapped; control characters and folders are kept out of the name."""
    ran = scan(compound({"O/\x01Ole10Native": ole10_native("a\tb\x07.txt", b"the file")}))
    (child,) = ran.children
    assert child.body.content() == b"the file"
    assert child.meta.extra_data["filename"] == "a b .txt"
    assert child.meta.extra_data["path"] == "O/[1]Ole10Native"
    assert child.meta.extra_data["source_path"] == "C:\\Users\\a\\a b .txt"
    bare = scan(compound({"\x01Ole10Native": struct.pack("<I", 6) + b"bitmap"}))
    assert [one.body.content() for one in bare.children] == [b"bitmap"]


@pytest.mark.parametrize(
    ("name", "content", "finding"),
    [
        ("calc.exe", b"MZ", "ole_packed_executable"), ("a.txt", b"MZ\x90", "ole_packed_executable"),
        ("invoice.pdf.js", b"x", "name_double_extension"),
    ],
)  # fmt: skip
def test_findings(name: str, content: bytes, finding: str) -> None:
    """Programs packed into documents are found by name or bytes."""
    ran = scan(compound({"\x01Ole10Native": ole10_native(name, content)}))
    assert finding in {one.name for one in ran.findings}
    assert not scan(compound({"\x01Ole10Native": ole10_native("a.txt", b"text")})).findings


def test_a_cut_packed_file_says_so() -> None:
    """An object that claims more than it has is `truncated`, and what is there is scanned."""
    native = ole10_native("a.bin", b"x" * 100)
    at = native.index(b"x" * 100)
    ran = scan(compound({"\x01Ole10Native": native[: at - 4] + struct.pack("<I", 10**9) + native[at:]}))
    assert "truncated" in ran.reasons
    assert ran.contents["a.bin"].startswith(b"x" * 100)


def test_properties() -> None:
    """Title, author, times and program of a real document."""
    found = scan(samples.content("oletools", "msodde/harmless-clean.doc")).result
    assert found is not None
    assert found["properties"]["application"] == "Microsoft Office Word"
    assert found["properties"]["created"].endswith("Z")
    assert found["root_clsid"] == "00020906-0000-0000-C000-000000000046"


def test_documents_that_office_opens_unasked() -> None:
    """What Excel encrypts with its own password is opened; the decrypted document is a child."""
    folder = samples.folder("oletools") / "encrypted"
    for file in sorted(folder.glob("*standardpassword*")):
        ran = scan(file.read_bytes())
        assert ran.result is not None
        assert ran.result["password"] == "VelvetSweatshop", file
        assert [one for one in ran.children if one.meta.extra_data.get("decrypted")], file
        assert "encrypted_document" not in ran.reasons


def test_encrypted_documents_without_the_password() -> None:
    """Each kind is `encrypted_document`, and its streams are children all the same."""
    folder = samples.folder("oletools") / "encrypted"
    kinds = set()
    for file in sorted(folder.glob("encrypted.*")):
        ran = scan(file.read_bytes(), passwords=["wrong"])
        assert ran.reasons == {"encrypted_document"}, file
        assert ran.children
        assert ran.result is not None
        kinds.add(ran.result["encryption"])
    assert kinds == {"ooxml", "word", "excel", "powerpoint"}


def test_the_requests_password_opens() -> None:
    """A document encrypted here with the library opens with the request's password, spaces in it and all."""
    from msoffcrypto.format.ooxml import OOXMLFile

    plain = samples.content("oletools", "msodde/harmless-clean.docx")
    out = io.BytesIO()
    OOXMLFile(io.BytesIO(plain)).encrypt("two words", out)
    assert "encrypted_document" in scan(out.getvalue()).reasons
    ran = scan(out.getvalue(), passwords=["no", "two words"])
    assert ran.result is not None
    assert ran.result["password"] == "two words"
    assert ran.contents["d.doc"] == plain


def test_objects_of_a_presentation() -> None:
    """Objects in a PowerPoint stream come out inflated."""
    ran = scan(samples.content("oletools", "olevba/sample_with_vba.ppt"))
    objects = [one for one in ran.children if str(one.meta.extra_data["filename"]).startswith("object-")]
    assert objects
    assert objects[0].body.content().startswith(b"\xd0\xcf\x11\xe0")


def test_what_is_appended_is_a_child() -> None:
    """Bytes behind the last sector, such as a zip, are scanned as a file of their own."""
    content = compound({"a": b"x"})
    assert "tail" not in scan(content).contents
    assert scan(content + b"PK\x03\x04 appended " * 3).contents["tail"] == b"PK\x03\x04 appended " * 3


def test_packages_of_a_presentation() -> None:
    """Themes and layouts, which are zips in records, come out one by one."""
    ran = scan(samples.content("oletools", "oleobj/embedded-simple-2007.ppt"))
    zips = [one for one in ran.children if str(one.meta.extra_data["filename"]).startswith("package-")]
    assert len(zips) > 10
    assert all(one.body.content().startswith(b"PK\x03\x04") for one in zips)


def test_an_orphan_is_found() -> None:
    """A stream that no storage holds is a child, marked."""
    ran = scan(compound({"a": b"x"}, orphan=("hidden", b"payload")))
    assert ran.contents["hidden"] == b"payload"
    assert ran.children[-1].meta.extra_data["orphan"] is True


def test_cycles_and_claimed_sizes() -> None:
    """A chain that bites its tail, and a stream of 4 GiB in a file of 20 KB, end at the file's own size."""
    content = compound({"a": BIG, "b": BIG})
    (fat_sector,) = struct.unpack_from("<I", content, 76)
    fat_at = (fat_sector + 1) * 512
    looped = patched(content, fat_at + 4 * 5, 0)
    claimed = patched(looped, directory_at(content) + 128 + 120, 0xFFFFFFF0)
    began = time.process_time()
    for one in (looped, claimed):
        ran = scan(one)
        assert sum(child.body.size for child in ran.children) < 3 * len(content)
        assert ran.reasons & {"corrupt", "ratio"}
    assert time.process_time() - began < 2


def test_a_directory_of_cycles() -> None:
    """Entries that name each other or themselves are read once, without recursion."""
    content = compound({f"s{n}": b"x" for n in range(6_000)})
    at = directory_at(content)
    for field in (68, 72):
        ran = scan(patched(content, at + 128 * 3 + field, 2))
        assert "corrupt" in ran.reasons
    deep = scan(content, limits=RequestLimits(payloads=10_000))
    assert len(deep.children) == 6_000


def test_overlapping_streams_are_bounded() -> None:
    """A thousand entries over the same sectors do not yield a thousand times the file."""
    content = bytearray(
        compound({f"s{n:03}": bytes([n % 256]) * 4_100 if n == 0 else b"" for n in range(1_000)})
    )
    at = directory_at(content)
    for n in range(1, 1_000):
        row = at + 128 * (n + 1)
        content[row + 116 : row + 128] = content[at + 128 + 116 : at + 128 + 128]
    ran = scan(bytes(content))
    assert sum(one.body.size for one in ran.children) < 2 * len(content)
    assert "ratio" in ran.reasons


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9])
def test_a_cut_file_gives_what_is_there(keep: float) -> None:
    """What the file still has is scanned, and the rest is named."""
    content = samples.content("clamav", "clam.ole.doc")
    ran = scan(content[: int(len(content) * keep)])
    assert ran.reasons & {"truncated", "corrupt"}


WHOLE = [
    compound({"a": b"x" * 100, "S/b": BIG, "S/\x01Ole10Native": ole10_native("n.txt", b"y" * 90)}),
    document({"A": "Sub AutoOpen()\r\nEnd Sub\r\n"}),
]


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.floats(0, 0.999), st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\xfe\xff\xff\xff", b"\1\0\0\0"]) | st.binary(min_size=1, max_size=8)), max_size=6),
    st.floats(0.05, 1),
)  # fmt: skip
def test_damaged_files_end_in_emits_or_reasons(
    whole: bytes, damage: list[tuple[float, bytes]], keep: float
) -> None:
    """Bytes changed anywhere and a cut anywhere stay within the limits and raise nothing else."""
    broken = bytearray(whole[: int(len(whole) * keep)])
    for where, what in damage:
        at = int(where * len(broken))
        broken[at : at + len(what)] = what
    ran = scan(bytes(broken))
    assert sum(child.body.size for child in ran.children) <= 3 * len(whole) + 4_096


@given(st.binary(max_size=2_000))
def test_any_bytes(content: bytes) -> None:
    """Arbitrary bytes behind the mark end in a reason or a result."""
    scan(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + content)


@given(st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._", min_size=1), st.booleans())
def test_names_of_windows_installer(name: str, table: bool) -> None:
    """Two letters in one, from U+3800 on, come out as they were; other scripts' letters stay."""
    letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._"
    packed = "\u4840" if table else ""
    for at in range(0, len(name), 2):
        first, *second = (letters.index(one) for one in name[at : at + 2])
        packed += chr(0x3800 + first + 64 * second[0]) if second else chr(0x4800 + first)
    assert visible(packed) == ("!" if table else "") + name
    assert visible("文" + packed) == "文" + packed
