"""Mail: every header and part, bytes intact, malformed and hostile ones too."""

from __future__ import annotations

import base64
import binascii
import sys
from collections.abc import Iterator
from email import message_from_bytes, policy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.workers.smtp import Smtp
from stoq_core.limits import RequestLimits
from stoq_core.testing import Ran, make, payload, run
from tests import samples

HEAD = b'From: Alice <alice@example.com>\r\nTo: bob@example.org, "C, D" <c@example.net>\r\nSubject: hi\r\nMIME-Version: 1.0\r\n'


def mail(*parts: bytes, head: bytes = HEAD, kind: bytes = b"mixed") -> bytes:
    """A multipart message."""
    inner = b"".join(b"--B\r\n" + one + b"\r\n" for one in parts)
    return head + b"Content-Type: multipart/" + kind + b'; boundary="B"\r\n\r\n' + inner + b"--B--\r\n"


def attached(name: str, content: bytes, kind: str = "application/octet-stream") -> bytes:
    """A base64 part."""
    head = f'Content-Type: {kind}\r\nContent-Disposition: attachment; filename="{name}"\r\n'
    return head.encode() + b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(content)


def text(words: str) -> bytes:
    """A plain part."""
    return b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + words.encode()


def scan(content: bytes, **options: Any) -> Ran:
    """Run the worker."""
    return run(make(Smtp, **options), payload(content, "m.eml"))


def result(content: bytes, **options: Any) -> dict[str, Any]:
    """Its result."""
    found = scan(content, **options).result
    assert found is not None
    return found


def test_headers_repeated_ones_as_lists() -> None:
    """Every header is there, decoded; one that stands twice is a list."""
    head = (
        HEAD
        + b"X-A: 1\r\nX-A: 2\r\nX-Long: a\r\n b\r\nX-Word: =?utf-8?q?caf=C3=A9?= =?utf-8?b?IG9sw6k=?=\r\nX-Raw: caf\xc3\xa9\r\n"
    )
    headers = result(head + b"\r\nbody")["headers"]
    assert headers["x-a"] == ["1", "2"]
    assert headers["x-long"] == "a b"
    assert headers["x-word"] == "café olé"
    assert headers["x-raw"] == "café"


def test_headers_that_are_written_otherwise_are_a_child() -> None:
    """Encoded words decoded, folded long words in one piece, those of parts too; ordinary ones make no child."""
    part = (
        b"Content-Type: x/y; name="
        + b"QUJD" * 20
        + b"\r\nContent-Description: =?utf-8?q?WScript=2EEcho?=\r\n\r\nx"
    )
    head = HEAD + b"X-Cut: " + b"YWJj" * 10 + b"\r\n " + b"YWJj" * 10 + b"\r\n"
    text = scan(mail(part, head=head)).contents["headers.txt"]
    assert b"X-Cut: " + b"YWJj" * 20 in text
    assert b"WScript.Echo" in text
    assert b"QUJD" * 20 in text
    assert "headers.txt" not in scan(mail(b"\r\nx")).contents


def test_addresses() -> None:
    """Names and addresses, quoted commas and all."""
    found = result(HEAD + b"\r\n")["addresses"]
    assert found["sender"] == [{"address": "alice@example.com", "name": "Alice"}]
    assert [one["address"] for one in found["to"]] == ["bob@example.org", "c@example.net"]


def test_hops() -> None:
    """Each Received header, newest first, with its addresses and time in UTC."""
    head = (
        b"Received: from mx.example.com (mx.example.com [203.0.113.5]) by in.example.org (Postfix) with ESMTPS id 4X"
        b" for <bob@example.org>; Tue, 1 Jul 2025 10:00:00 +0200\r\nReceived: nonsense\r\n"
    )
    first, second = result(head + HEAD + b"\r\n")["hops"]
    assert first == {
        "sender": "mx.example.com", "by": "in.example.org", "protocol": "ESMTPS", "id": "4X",
        "recipient": "bob@example.org", "ips": ["203.0.113.5"], "date": "2025-07-01T08:00:00Z",
    }  # fmt: skip
    assert second["date"] is None


def test_authentication_results() -> None:
    """RFC 8601: server, methods, results, properties; comments are no results."""
    head = (
        b"Authentication-Results: mx.example.org;\r\n spf=pass (ok; dkim=fail) smtp.mailfrom=alice@example.com;\r\n"
        b' dkim=fail reason="bad; key" header.d=example.com header.s=k1; dmarc=none\r\n'
        b"ARC-Authentication-Results: i=1; arc.example.org; dkim=pass\r\n"
    )
    first, second = result(head + HEAD + b"\r\n")["authentication"]
    assert first["server"] == "mx.example.org"
    assert (first["methods"][0]["method"], first["methods"][0]["result"]) == ("spf", "pass")
    assert first["methods"][0]["properties"] == {"smtp.mailfrom": "alice@example.com"}
    assert ("dmarc", "none") in [(one["method"], one["result"]) for one in first["methods"]]
    assert (second["server"], second["methods"][0]["result"]) == ("arc.example.org", "pass")


def test_attachments_have_their_bytes_and_facts() -> None:
    """A child a part: name, type, disposition, charset, description; base64 and quoted-printable undone."""
    content = bytes(range(256)) * 4
    qp = b"Content-Type: text/html; charset=latin-1\r\nContent-Transfer-Encoding: quoted-printable\r\nContent-Description: d\r\n\r\n<b>=E9</b>"
    ran = scan(mail(qp, attached("a.bin", content)))
    assert ran.contents["a.bin"] == content
    html, file = ran.children
    assert html.body.content() == b"<b>\xe9</b>"
    assert html.meta.extra_data["description"] == "d"
    assert file.meta.extra_data["disposition"] == "attachment"
    assert ran.result is not None
    assert ran.result["bodies"][0]["text"] == "<b>é</b>"
    assert [one["filename"] for one in ran.result["attachments"]] == ["", "a.bin"]


@pytest.mark.parametrize("ending", [b"\r\n", b"\n"])
def test_an_inner_message_keeps_its_bytes(ending: bytes) -> None:
    """message/rfc822 comes out as it stands: line ends, odd headers, 8-bit bytes, its own boundary."""
    inner = ending.join([b"Subject:  two  spaces", b"X-Odd : \xe4", b'Content-Type: multipart/mixed; boundary="B2"', b"",
                         b"--B2", b"", b"x \xff", b"--B2--"])  # fmt: skip
    outer = mail(b"Content-Type: message/rfc822\r\n\r\n" + inner)
    assert [one.body.content() for one in scan(outer).children] == [inner]


def test_nested_and_inline_parts() -> None:
    """Parts of parts come out with their place in the tree."""
    inner = (
        b'Content-Type: multipart/related; boundary="C"\r\n\r\n--C\r\n'
        + text("x")
        + b"\r\n--C\r\nContent-Type: image/png\r\nContent-ID: <i>\r\nContent-Disposition: inline\r\n\r\nPNG\r\n--C--"
    )
    ran = scan(mail(inner, attached("z.zip", b"PK")))
    assert [one.meta.extra_data["part"] for one in ran.children] == ["1.1.1", "1.1.2", "1.2"]
    assert ran.children[1].meta.extra_data["content_id"] == "<i>"


def test_file_names_of_every_kind() -> None:
    """RFC 2231 (continued, with charset), RFC 2047, raw UTF-8, and without control characters."""
    kinds = [
        (b"filename*=utf-8''%C3%A4%20b.pdf", "ä b.pdf"), (b'filename*0="a"; filename*1="b.pdf"', "ab.pdf"),
        (b'filename="=?utf-8?b?w6QucGRm?="', "ä.pdf"), ('filename="ä.pdf"'.encode(), "ä.pdf"),
        (b'filename="a\x01\tb.pdf"', "a b.pdf"), (b"filename*=punycode''abc", "abc"), (b"filename*=no\0such''x.y", ""),
    ]  # fmt: skip
    for parameter, name in kinds:
        part = (
            b"Content-Type: application/pdf\r\nContent-Disposition: attachment; " + parameter + b"\r\n\r\nx"
        )
        listed = result(mail(part))["attachments"][0]["filename"]
        assert listed == name or not name, parameter


def test_uuencoded_file_in_a_text() -> None:
    """`begin 644 name` in a body is a file."""
    body = "see\r\nbegin 644 a.txt\r\n#86)C\r\n`\r\nend\r\nbye"
    assert scan(mail(text(body))).contents["a.txt"] == b"abc"


def test_passwords_are_offered() -> None:
    """Words near a word for password, quoted ones and those with spaces; most likely first."""
    for said, word in (
        ("The password is: s3cret!", "s3cret!"), ("Passwort lautet hallo123.", "hallo123"), ("pwd = 'two words'", "two words"),
        ('zip password for the file: "infected"', "infected"), ("пароль: qwerty", "qwerty"), ("Password:\r\n\r\n  4711", "4711"),
        ("\u30d1\u30b9\u30ef\u30fc\u30c9\uff1aKw7#Frühling", "Kw7#Frühling"), ("解压密码是abc123。请查收", "abc123"), ("密碼「a b」", "a b"),
        ("Mot de passe : abc-9", "abc-9"), ("contraseña del archivo: hola99", "hola99"), ("비밀번호는 9999 입니다", "9999"),
        ("Passwort: **geheim1**", "geheim1"), ("Das Passwort für das Archiv lautet\r\n\r\n  Geheim9!", "Geheim9!"),
    ):  # fmt: skip
        hints = [one.value for one in scan(mail(text(said))).hints]
        assert word in hints[:6], (said, hints)
    html = b"Content-Type: text/html\r\n\r\n<p>password: <b>x&amp;y1</b></p>"
    assert "x&y1" in [one.value for one in scan(mail(html)).hints]
    table = (
        b"Content-Type: text/html\r\n\r\n<table><tr><td><b>Pass</b>wort</td><td>x&amp;y9</td></tr></table>"
    )
    assert "x&y9" in [one.value for one in scan(mail(table)).hints]
    assert scan(mail(text("see you at four"))).hints == []
    assert scan(mail(text("password: abc1")), harvest_passwords=False).hints == []


def test_options() -> None:
    """`omit_body` keeps text out of the result, not out of the scan; `extract_iocs` makes one text of it all."""
    content = mail(text("see http://a.example.com/x"))
    omitted = scan(content, omit_body=True)
    assert omitted.result is not None
    assert omitted.result["bodies"][0]["text"] == ""
    assert b"see http" in omitted.children[0].body.content()
    iocs = scan(content, extract_iocs=True).children[-1]
    assert iocs.meta.dispatch_to == ["iocextract"]
    assert b"alice@example.com" in iocs.body.content()
    assert b"http://a.example.com/x" in iocs.body.content()
    assert omitted.result["urls"] == ["http://a.example.com/x"]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (HEAD.replace(b"Alice <", b'"ceo@bank.example" <') + b"\r\n", "mail_display_name_other_address"),
        (mail(attached("inv\u202efdp.exe", b"x")), "name_right_to_left"),
        (mail(attached("invoice.pdf.exe", b"x")), "name_double_extension"),
        (mail(attached("invoice.pdf          .scr", b"x")), "name_double_extension"),
        (mail(attached("a.exe", b"x", "image/png")), "mail_type_mismatch"),
    ],
)
def test_findings(content: bytes, name: str) -> None:
    """What the format itself gives away."""
    assert name in {one.name for one in scan(content).findings}


@pytest.mark.parametrize(
    "content",
    [
        HEAD.replace(b"Alice <", b'"Alice (alice@example.com)" <') + b"\r\n",
        HEAD.replace(b"Alice <", b'"alice@mail.example.com" <') + b"\r\n",
        mail(attached("report.v1.2.pdf", b"x")), mail(attached("setup.exe", b"x")),
        mail(attached("\u05e9\u05dc\u05d5\u05dd\u202b.pdf", b"x")),
    ],
)  # fmt: skip
def test_no_findings(content: bytes) -> None:
    """Ordinary senders and names are none."""
    assert scan(content).findings == []


def test_a_file_of_another_kind_is_no_mail() -> None:
    """Headers within a compound file or a long text make no mail of what stands before them."""
    for lead in (b"\xd0\xcf\x11\xe0" + bytes(900), b"words of a book\n" * 900):
        ran = scan(lead + b"\n" + mail(attached("a.bin", b"abc")))
        assert ran.result is None
        assert ran.contents == {"a.bin": b"abc"}


def test_mbox() -> None:
    """Each message of an mbox is a child that goes to this worker again."""
    one = b"From a@b.c Tue Jul  1 10:00:00 2025\n" + HEAD.replace(b"\r\n", b"\n") + b"\nbody\n\n"
    ran = scan(one * 3)
    assert [child.meta.dispatch_to for child in ran.children] == [["smtp"]] * 3
    assert result(one)["headers"]["subject"] == "hi"


def test_parts_behind_the_end_are_read() -> None:
    """Where an inner boundary equals the outer one, what mail programs show is scanned, too."""
    inner = b'Content-Type: multipart/alternative; boundary="B"\r\n\r\n--B\r\n' + text("a") + b"\r\n--B--\r\n"
    content = mail(inner + b"\r\n--B\r\n" + attached("late.zip", b"PK late"))
    assert scan(content).contents["late.zip"] == b"PK late"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n\r\nx", "encrypted_document"),
        (b"Content-Type: message/partial; id=a; number=1; total=3\r\n\r\nx", "truncated"),
    ],
)
def test_what_cannot_be_read_is_named(kind: bytes, reason: str) -> None:
    """Encrypted mails and fragments are no clean ones."""
    assert reason in scan(HEAD + kind).reasons
    assert "encrypted_document" in scan(mail(text("Version: 1"), kind=b"encrypted")).reasons


def test_malformed_mail_is_no_error() -> None:
    """What breaks the rules is listed; where every reading of it is scanned, it is no damage."""
    ran = scan(b"From: a@b.c\r\nContent-Type: multipart/mixed\r\nno colon here\r\n\r\nbody")
    assert ran.result is not None
    assert ran.result["defects"] == ["multipart without a boundary"]
    assert ran.errors == []
    broken = mail(attached("a.bin", b"abc").replace(b"YWJj", b"YW!!JjZ"))
    assert scan(broken).contents["a.bin"].startswith(b"abc")
    assert not scan(b"just some words, no mail").children


def encoded(body: bytes, encoding: bytes = b"base64") -> bytes:
    """A mail whose only part is an attachment with such a body."""
    head = b"Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=a.bin\r\n"
    return mail(head + b"Content-Transfer-Encoding: " + encoding + b"\r\n\r\n" + body)


def test_base64_that_goes_on_behind_its_padding() -> None:
    """Readers that begin anew, and those that take the padding for junk: what either finds is a child."""
    two = base64.b64encode(b"harmless") + b"\r\n" + base64.b64encode(b"MZ and the rest")
    assert scan(encoded(two)).contents["a.bin"] == b"harmlessMZ and the rest"
    whole = base64.b64encode(b"WScript.Echo 1, which is text")
    made = [one.body.content() for one in scan(encoded(whole[:5] + b"=" + whole[5:])).children]
    assert made[0].startswith(b"WSc")
    assert made[1:] == [b"WScript.Echo 1, which is text"]
    for whole in (b"harmless", b"harmles", b"harmle"):
        ran = scan(encoded(base64.b64encode(whole) + b"\r\n"))
        assert (ran.contents["a.bin"], ran.reasons, ran.errors) == (whole, set(), [])
        cut = scan(encoded(base64.b64encode(whole).rstrip(b"=")))  # every letter is decoded
        assert (cut.contents["a.bin"], cut.reasons) == (whole, set())


def test_base64_with_padding_everywhere() -> None:
    """Millions of paddings cost no memory, and nothing is left out but what no letter tells."""
    ran = scan(encoded(b"QUFB=" * 2_000_000))
    assert ran.contents["a.bin"] == base64.b64decode(b"QUFB") * 2_000_000
    assert ran.reasons == set()
    assert scan(encoded(b"QUFBQ=" * 2_000)).reasons == {"corrupt"}


def test_uuencoded_files_that_are_damaged() -> None:
    """Lines that cannot be decoded, or an encoding that is not there, are `corrupt`; what can be read is."""
    lines = [binascii.b2a_uu(b"first line"), b"#~~~ ~\n", binascii.b2a_uu(b"last line")]
    ran = scan(encoded(b"begin 644 x\n" + b"".join(lines) + b"`\nend\n", b"x-uuencode"))
    assert ran.contents["a.bin"] == b"first linelast line"
    assert ran.reasons == {"corrupt"}
    assert scan(encoded(b"no begin\n", b"uuencode")).reasons == {"corrupt"}
    filled = binascii.b2a_uu(b"last line!").rstrip(b"\n")[:-1] + b"_\n"  # bits that are none of its bytes
    ran = scan(encoded(b"begin 644 x\n" + filled + b"`\nend\n", b"x-uuencode"))
    assert (ran.contents["a.bin"], ran.reasons, ran.errors) == (b"last line!", set(), [])


def test_posix_base64_in_a_text() -> None:
    """`begin-base64` is the other format of uuencode."""
    inside = b"begin-base64 644 x.bin\n" + base64.encodebytes(b"content " * 20) + b"====\n"
    ran = scan(mail(text("see below\n" + inside.decode())))
    assert ran.contents["x.bin"] == b"content " * 20
    assert ran.reasons == set()


def test_depth_bomb() -> None:
    """Parts nested thousands deep end in `too_deep`."""
    head = b"".join(b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n' % (n, n) for n in range(3_000))
    ran = scan(b"From: a@b.c\n" + head)
    assert ran.reasons == {"too_deep"}


def test_part_bombs() -> None:
    """A hundred thousand parts are cut, and what is left out is named."""
    many = scan(HEAD + b'Content-Type: multipart/mixed; boundary="B"\r\n\r\n' + b"--B\r\n\r\nx\r\n" * 100_000)
    assert "too_many_payloads" in many.reasons
    assert len(many.children) <= RequestLimits().payloads


def _numbered(pattern: bytes, count: int) -> bytes:
    return b"".join(pattern % (number, number) for number in range(count))


TRAPS = {
    "headers": lambda n: b"a: b\r\n" * n + b"\r\n",
    "junk among headers": lambda n: b"From: a\r\n" + b"junk\r\nFrom: x\r\n" * n + b"\r\nx",
    "junk behind headers": lambda n: b"From: a\r\nTo: b\r\n" + b"junk\r\n" * n,
    "addresses": lambda n: b"From: " + b"a@" * 10 * n + b"\r\nTo: b\r\n\r\n" + b"a@" * 10 * n,
    "comments": lambda n: HEAD + b"Content-Type: " + b"(" * 5 * n + b"\r\n\r\nx",
    "parameters": lambda n: HEAD + b"Content-Type: multipart/mixed" + b";a=b" * n + b"\r\n\r\n",
    "quotes": lambda n: HEAD + b"Content-Type: multipart/mixed" + b';a="' * n + b"\r\n\r\n",
    "words": lambda n: HEAD + b"X: " + b"=?a?q?" * n + b"\r\n\r\n",
    "boundaries": lambda n: (
        HEAD + b"Content-Type: multipart/mixed;" + b"boundary=1;" * n + b"\r\n\r\n" + b"--2\r\n" * n
    ),
    "nested": lambda n: HEAD + _numbered(b"Content-Type: multipart/x; boundary=%d\n\n--%d\n", n),
    "nested alike": lambda n: HEAD + b"Content-Type: multipart/x; boundary=B\n\n--B\n" * (n // 4),
    "hidden": lambda n: (
        HEAD + b"\r\n" + _numbered(b"--%d\nContent-Type: multipart/x; boundary=%d\n\n", n // 4)
    ),
    "carriage returns": lambda n: HEAD + b"\r\n" + b"\r" * 20 * n,
    "quoted-printable": lambda n: (
        HEAD + b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b"= " * 5 * n
    ),
    "uuencode": lambda n: HEAD + b"\r\n" + b"begin 644 a\r\n" * n,
    "yEnc": lambda n: HEAD + b"\r\n" + b"=ybegin line=1 size=5 name=a\r\nabc\r\n" * n,
    "tags": lambda n: HEAD + b"Content-Type: text/html\r\n\r\n" + b"<p<style>" * n,
    "passwords": lambda n: HEAD + b"\r\n" + b"password : " * n,
    "punycode": lambda n: HEAD + b"Content-Type: text/plain; charset=punycode\r\n\r\n" + b"a-" * n,
}


@pytest.mark.parametrize("name", sorted(TRAPS))
def test_linear(name: str) -> None:
    """Eight times the bytes cost about eight times the work, counted in lines run."""
    small, large = (_lines_run(TRAPS[name](size)) for size in (500, 4_000))
    assert large <= 12 * small + 20_000


def _lines_run(content: bytes) -> int:
    """How many lines of Python a scan runs."""
    count = 0

    def trace(*_: Any) -> Any:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        scan(content)
    finally:
        sys.settrace(before)
    return count


def test_real_mails() -> None:
    """Clamav's mails yield their executable whatever the encoding is."""
    for name in ("clam.mail", "clam.exe.mbox.base64", "clam.exe.mbox.uu"):
        assert len(scan(samples.content("clamav", name)).contents["clam.exe"]) == 544


def test_every_real_mail_is_read() -> None:
    """mail-parser's and CPython's mails: no failure, and headers for each that is a mail."""
    for file in (*samples.files("mail-parser"), *samples.files("email")):
        content = file.read_bytes()
        ran = scan(content)
        assert ran.error is None, file
        assert ran.result is not None or content[:4] not in (b"Rece", b"From", b"Retu", b"MIME"), file


def _held(policy: Any, content: bytes) -> Iterator[bytes]:
    """What CPython's reader finds attached: parts with a name, and parts that are no text."""
    for part in message_from_bytes(content, policy=policy).walk():
        if part.is_multipart() or (part.get_content_maintype() == "text" and not part.get_filename()):
            continue
        body = part.get_payload(decode=True)
        if isinstance(body, bytes) and body.strip():
            yield body


def _all_in(content: bytes, depth: int = 0) -> Iterator[bytes]:
    for child in scan(content).children:
        body = child.body.content()
        yield body
        if depth < 4 and child.meta.dispatch_to:
            yield from _all_in(body, depth + 1)


@pytest.mark.parametrize("policy", [policy.compat32, policy.default], ids=["old", "new"])
def test_no_less_is_found_than_by_other_readers(policy: Any) -> None:
    """Whatever CPython's reader finds attached, by either of its policies, stands in a child."""
    for file in (*samples.files("mail-parser"), *samples.files("email")):
        content = file.read_bytes()
        found = [one.translate(None, b"\r\n") for one in _all_in(content)]
        for body in _held(policy, content):
            assert any(body.translate(None, b"\r\n") in one for one in found), file


PIECES = [b"From: a@b.c\n", b'Content-Type: multipart/mixed; boundary="B"\n', b"\n--B\n", b"\n--B--\n", b"\n", b"Content-Transfer-Encoding: base64\n",
          b"Content-Disposition: attachment; filename*=utf-8''%41\n", b"begin 644 a\n", b"=?utf-8?b?", b"?=", b"Content-Type: message/rfc822\n"]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(PIECES)), max_size=30))
def test_any_bytes(parts: list[bytes]) -> None:
    """Arbitrary bytes end in emits or an error, within the limits."""
    ran = scan(b"".join(parts))
    assert sum(one.body.size for one in ran.children) <= 10 * 2**20
