"""Content types from bytes."""

import importlib.util
import random
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.local.samples import tar_gz, zipped
from plugins.workers.mimetype import Mimetype
from stoq_core.errors import ConfigError
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
        (b"\xfe\xff\0\0\5\0\2\0" + bytes(40), "unknown"),
        (b"LZIP\1\xce", "lzip"),
        (b"SZDD\x88\xf0\x27\x33A\0", "szdd"),
        (b"ZOO 2.10 Archive.\x1a\0\0\xdc\xa7\xc4\xfd", "zoo"),
        (b"\x1a\2t.txt" + bytes(22) + b"\x1a\0", "arc"),
        (b"\x1a\2 no name", "unknown"),
        (b"(This file must be converted with BinHex 4.0)\n\n:", "binhex"),
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


def need(engine: str) -> Mimetype:
    """The worker with that engine; skips where its library cannot be had."""
    try:
        made = make(Mimetype, engine=engine)
        run(made, b"\x01\x02 neither table nor prefix")
    except (ConfigError, ImportError) as error:
        pytest.skip(f"{error} (engine {engine})")
    return made


ENGINES = ["puremagic", "libmagic", "magika", "table"]
DJVU = b"AT&TFORM\0\0\1\x20DJVUINFO\0\0\0\x0a" + bytes(300)


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_are_asked_where_the_table_is_silent(engine: str) -> None:
    """Each names what it knows in the same fields; `table` asks nobody."""
    found = run(need(engine), DJVU).result
    assert found is not None
    if engine == "table":
        assert (found["mimetype"], found["label"]) == ("application/octet-stream", "unknown")
    elif engine != "magika":
        assert found["mimetype"].endswith("djvu")
        assert (found["group"], found["label"]) == ("image", "djvu")


def test_magika_knows_languages() -> None:
    """Where the model is installed, it is asked about bytes that no table knows."""
    found = run(need("magika"), b"\x7fCGC" + bytes(200) + b"\x01\x02" * 200).result
    assert found is not None
    assert 0 <= found["confidence"] <= 1


@pytest.mark.parametrize("engine", ENGINES)
def test_the_table_goes_first(engine: str) -> None:
    """What it knows is the same with every engine."""
    found = run(need(engine), b"%PDF-1.7\n").result
    assert found is not None
    assert (found["label"], found["confidence"]) == ("pdf", 1.0)


def test_an_engine_without_its_library_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="the extra image"):
        make(Mimetype, engine="libmagic")


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=50, deadline=None)
@given(content=st.binary(max_size=3000))
def test_any_bytes_have_a_type_with_every_engine(engine: str, content: bytes) -> None:
    """Arbitrary bytes end in a type, never in an error."""
    ran = run(need(engine), content)
    assert ran.error is None
    assert ran.result is not None
    assert "/" in ran.result["mimetype"]


@given(st.binary(max_size=5000))
def test_any_bytes_have_a_type(content: bytes) -> None:
    """Arbitrary bytes end in a type, never in an error."""
    ran = run(make(Mimetype), content)
    assert ran.error is None
    assert ran.result is not None
    assert "/" in ran.result["mimetype"]


def test_dense_bytes_of_no_known_type_are_unknown() -> None:
    """What only a key or a decoder makes sense of is `unknown`, of any size; plain binary data is nothing."""
    for size in (64, 1_000, 300_000):
        dense = random.Random(size).randbytes(size)
        ran = run(make(Mimetype, engine="table"), b"\x13\x37" + dense)
        assert ran.result is not None
        assert (ran.result["label"], ran.result["kind"]) == ("unknown", "unknown"), size
    hidden = bytes(200_000) + random.Random(2).randbytes(100_000)
    for content, kind in (
        (hidden, "unknown"),
        (bytes(range(40)) * 900, "leaf"),
        (b"\x13\x37" + b"ab\0\1" * 99, "leaf"),
    ):
        found = run(make(Mimetype, engine="table"), content).result
        assert found is not None
        assert found["kind"] == kind
