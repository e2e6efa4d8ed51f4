"""Content types from bytes."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.local.samples import tar_gz, zipped
from plugins.workers.mimetype import Mimetype
from stoq_core.testing import make, payload, run


@pytest.mark.parametrize(
    ("content", "label"),
    [
        (b"", "empty"),
        (zipped(a__txt=b"x"), "zip"),
        (zipped(**{"word/document": b"x"}), "docx"),
        (tar_gz("a", b"x"), "gzip"),
        (b"%PDF-1.7\n", "pdf"),
        (b"Rar!\x1a\x07\x01\x00", "rar"),
        (b"{\\rtf1", "rtf"),
        (b"<?php eval(1);", "php"),
        (b"<!DOCTYPE html><html>", "html"),
        (b'{"a": 1}', "json"),
        (b"From: a@b.c\r\nSubject: hi\r\n\r\nbody", "eml"),
        (b"plain words", "txt"),
        (b"\xff\xfeh\0i\0", "txt"),
        (b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0", "pe"),
        (b"MZ" + bytes(62), "mz"),
        (b"\xca\xfe\xba\xbe\0\0\0\x41" + bytes(60), "class"),
        (b"\xca\xfe\xba\xbe\0\0\0\x02" + bytes(60), "macho"),
    ],
)
def test_known_types(content: bytes, label: str) -> None:
    """Each kind is told by its bytes, whatever the name says."""
    found = run(make(Mimetype), payload(content, "lies.exe")).result
    assert found is not None
    assert found["label"] == label


def test_an_executable_of_this_machine() -> None:
    """The running interpreter is an executable."""
    found = run(make(Mimetype), Path(sys.executable).resolve().read_bytes()[:100_000]).result
    assert found is not None
    assert found["group"] == "executable"


@given(st.binary(max_size=5000))
def test_any_bytes_have_a_type(content: bytes) -> None:
    """Arbitrary bytes end in a type, never in an error."""
    ran = run(make(Mimetype), content)
    assert ran.error is None
    assert ran.result is not None
    assert "/" in ran.result["mimetype"]
