"""Indicators of compromise: every type, defanged forms, offsets, allow lists, and linear time."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.workers.iocextract import Iocextract
from stoq_core.errors import ConfigError
from stoq_core.limits import Deadline
from stoq_core.testing import make, payload, run

MD5, SHA1 = "d41d8cd98f00b204e9800998ecf8427e", "da39a3ee5e6b4b0d3255bfef95601890afd80709"
SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def found(content: bytes | str, **options: Any) -> dict[str, list[str]]:
    """Values by type."""
    raw = content.encode() if isinstance(content, str) else content
    result = run(make(Iocextract, **options), raw).result or {}
    return {
        kind: [one["value"] for one in entries]
        for kind, entries in result.items()
        if kind != "cut" and isinstance(entries, list) and entries
    }


@pytest.mark.parametrize(
    ("text", "kind", "values"),
    [
        ("from 203.0.113.7:80 to 10.0.0.1.", "ipv4", ["203.0.113.7", "10.0.0.1"]),
        ("see 2001:db8::1, fe80::1%eth0 and [2001:DB8:0:0:0:0:0:2]", "ipv6", ["2001:db8::1", "fe80::1", "2001:db8::2"]),
        ("visit www.Example.co.uk today", "domains", ["www.example.co.uk"]),
        ("a (https://a.example.com/x?y=1#z).", "urls", ["https://a.example.com/x?y=1#z"]),
        ("http://[2001:db8::1]:8080/ http://198.51.100.1/a", "urls", ["http://[2001:db8::1]:8080/", "http://198.51.100.1/a"]),
        ("Bob <bob.o+x@mail.example.org>", "emails", ["bob.o+x@mail.example.org"]),
        (MD5, "md5", [MD5]), (SHA1.upper(), "sha1", [SHA1]), (SHA256, "sha256", [SHA256]), (SHA256 * 2, "sha512", [SHA256 * 2]),
        ("at 00:1A:2b:3c:4d:5e", "macs", ["00:1a:2b:3c:4d:5e"]), ("at 00-1a-2b-3c-4d-5e", "macs", ["00:1a:2b:3c:4d:5e"]),
        ("hxxps[://]evil[.]example[dot]com/a", "urls", ["https://evil.example.com/a"]),
        ("hXXp://198.51.100[.]1/x", "urls", ["http://198.51.100.1/x"]),
        ("bob[at]evil(.)com", "emails", ["bob@evil.com"]), ("evil{.}com", "domains", ["evil.com"]),
    ],
)  # fmt: skip
def test_each_type(text: str, kind: str, values: list[str]) -> None:
    """Every type is found in the forms that people write it in, defanged ones too."""
    assert found(text)[kind] == values


@pytest.mark.parametrize(
    "text",
    [
        "1.2.3 and 1.2.3.4.5 and 999.1.1.1", "12:30:45 std::string a::b", "index.html main.py e.g. i.e. a.b",
        "deadbeef" + "0" * 10, MD5 + "00", "x" + MD5, "user@localhost", "javascript://x", "0" * 32, "00:00:00:00:00:00",
        "aa:bb:cc:dd:ee:ff:00", "foo.invalidtld",
    ],
)  # fmt: skip
def test_near_misses(text: str) -> None:
    """Versions, times, file names, hashes of the wrong length and unknown suffixes are no indicators."""
    assert found(text) == {}


def test_offsets_context_and_counts() -> None:
    """An entry says where it first stood in the bytes as they are, how often, and what stood around."""
    content = b"one hxxp://evil[.]example.com/ two evil.example.com and evil.example.com"
    result = run(make(Iocextract), content).result
    assert result is not None
    url, domain = result["urls"][0], result["domains"][0]
    assert content[url["offset"] :].startswith(b"hxxp://")
    assert url["defanged"] is True
    assert content[domain["offset"] :].startswith(b"evil[.]")
    assert domain["count"] == 3
    assert "two evil" in domain["context"]


def test_wide_text() -> None:
    """UTF-16 in a binary is read, and its offsets are those of the binary."""
    content = bytes(100) + "see http://wide.example.org/x now".encode("utf-16-le") + bytes(50)
    result = run(make(Iocextract), content).result
    assert result is not None
    assert result["urls"][0]["value"] == "http://wide.example.org/x"
    assert content[result["urls"][0]["offset"] :].startswith("http://wide".encode("utf-16-le"))


def test_allow_list() -> None:
    """Networks and suffixes are left out of every type that names them."""
    text = "http://10.1.2.3/ http://a.example.com/ 10.9.9.9 8.8.8.8 bob@example.com sub.example.com other.example.net 2001:db8::1"
    assert found(text, allowlist=("10.0.0.0/8", "example.com", "2001:db8::/32")) == {
        "ipv4": ["8.8.8.8"], "domains": ["other.example.net"],
    }  # fmt: skip


@pytest.mark.parametrize("bad", ["10.0.0.0/99", "300.1.1.1", "..", "::zz/3"])
def test_a_bad_allow_list_stops_the_start(bad: str) -> None:
    """What is neither a network nor a name is a configuration error that names it."""
    with pytest.raises(ConfigError, match=r"iocextract\.allowlist"):
        make(Iocextract, allowlist=(bad,))


def test_max_bytes_is_said_but_no_reason() -> None:
    """Past `max_bytes` nothing is read: an error says so, and the verdict may still be clean."""
    content = b"a.example.com " + b" " * 100 + b"b.example.com"
    ran = run(make(Iocextract, max_bytes=50), content)
    assert ran.result is not None
    assert [one["value"] for one in ran.result["domains"]] == ["a.example.com"]
    assert ran.result["read_bytes"] == 50
    assert [one.code for one in ran.errors] == ["option_limit"]
    assert not ran.reasons


def test_max_each_keeps_the_first() -> None:
    """More distinct values than `max_each` of one type are cut, and the type is named."""
    ran = run(make(Iocextract, max_each=3), b" ".join(b"a%d.example.com" % n for n in range(9)))
    assert ran.result is not None
    assert len(ran.result["domains"]) == 3
    assert ran.result["cut"] == ["domains"]


def test_time_runs_out() -> None:
    """With no time left, what was found so far is the result, and an error says so."""
    text = b" ".join(b"a%d.example.com" % n for n in range(5_000))
    ran = run(make(Iocextract), text, deadline=Deadline.after_ms(500))
    assert [one.code for one in ran.errors] == ["timeout"]


@pytest.mark.parametrize(
    "unit",
    [b"a.", b"hxxp[", b"h://", b"[.]", b"a@", b"@.", b"::", b":a", b"aa:", b"f" * 31 + b"x", b"a.\0", b"h\0t\0", b"a:a "],
)  # fmt: skip
def test_hostile_repetition_is_linear(unit: bytes) -> None:
    """Twice the bytes cost about twice the time, for each pattern that would make an expression backtrack."""
    worker = make(Iocextract)
    worker.warm()
    times = []
    for size in (1, 4):
        content = unit * (size * 2**20 // len(unit))
        began = time.process_time()
        run(worker, content)
        times.append(time.process_time() - began)
    assert times[1] < 4 * times[0] * 3 + 0.5


def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suffix list is the bundled one: nothing opens a socket."""
    import socket

    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it went to the network"))
    from plugins._text.iocs import Suffixes

    monkeypatch.setattr(Suffixes, "_list", None)
    assert found("a.example.co.uk") == {"domains": ["a.example.co.uk"]}


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=30),
            st.sampled_from(
                [
                    b"http://",
                    b"hxxp",
                    b"[.]",
                    b"a.example.com",
                    b"@",
                    b"::1",
                    b"10.0.0.1",
                    b" ",
                    b"\0",
                    MD5.encode(),
                    b":",
                    b"aa-bb-",
                ]
            ),
        ),
        max_size=30,
    )
)
def test_any_bytes(parts: list[bytes]) -> None:
    """Arbitrary bytes end in a result whose offsets lie in the payload, never in an error."""
    content = b"".join(parts)
    ran = run(make(Iocextract), payload(content))
    assert ran.error is None
    entries = [one for kind, group in (ran.result or {}).items() if kind != "cut" for one in group or []]
    assert all(0 <= one["offset"] < len(content) for one in entries)
