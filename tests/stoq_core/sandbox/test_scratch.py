"""Tools' folders: one a user, nobody else's, removed to any depth without following a link."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoq_core.sandbox.scratch import FULL, Scratch, empty, held_bytes
from tests.stoq_core.sandbox.stage import stage


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files; what is left in it is removed, for pytest could not."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    empty(fd)
    os.close(fd)


def nest(folder: Path, depth: int) -> None:
    """So many folders in one another, and a file in each."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        for _ in range(depth):
            os.mkdir("d")
            Path("f").touch()
            os.chdir("d")
    finally:
        os.chdir(before)


def own(parent: Path) -> Path:
    """The user's folder."""
    return parent / f"stoq-tools-{os.geteuid()}"


def test_a_folder_is_private_and_gone_afterwards(parent: Path) -> None:
    """Closed to all others, below the user's own; the process's place goes with the process."""
    scratch = Scratch()
    with scratch.folder() as (fd, path):
        Path(path, "f").write_text("x")
        assert held_bytes(fd) >= 4096
        for one in (Path(path), Path(path).parent, own(parent)):
            assert stat.S_IMODE(one.stat().st_mode) == 0o700
    assert not Path(path).exists()
    scratch.close()
    assert list(own(parent).iterdir()) == []


@pytest.mark.parametrize("depth", [1, 1_100, 5_000])
def test_a_tree_that_was_left_behind(parent: Path, depth: int) -> None:
    """Of whatever depth, by a process that is gone: removed; one that is at work keeps its own."""
    left = own(parent) / "0123456789abcdef"
    left.mkdir(parents=True)
    own(parent).chmod(0o700)
    nest(left, depth)
    first, second = Scratch(), Scratch()
    with first.folder() as (_, kept), second.folder() as (_, other):
        assert not left.exists()
        assert Path(kept).exists()
        assert Path(other).exists()
    first.close()
    second.close()
    assert list(own(parent).iterdir()) == []


def test_folders_that_are_closed(parent: Path) -> None:
    """Rights that a tool took away do not keep its folders."""
    outer = parent / "outer"
    nest(outer_made(outer), 20)
    for one in sorted(outer.rglob("d"), reverse=True):
        one.chmod(0)
    fd = os.open(outer, os.O_RDONLY | os.O_DIRECTORY)
    empty(fd)
    os.close(fd)
    assert list(outer.iterdir()) == []


def outer_made(folder: Path) -> Path:
    """The folder, made."""
    folder.mkdir()
    return folder


def test_links_are_removed_and_not_followed(parent: Path) -> None:
    """What they lead to stays."""
    outside = outer_made(parent / "outside")
    (outside / "mine").write_text("mine")
    inner = outer_made(outer_made(parent / "outer") / "inner")
    for folder in (inner, inner.parent):
        (folder / "folder").symlink_to(outside)
        (folder / "file").symlink_to(outside / "mine")
        os.link(outside / "mine", folder / "same")
        os.mkfifo(folder / "pipe")
    fd = os.open(inner.parent, os.O_RDONLY | os.O_DIRECTORY)
    empty(fd)
    os.close(fd)
    assert list(inner.parent.iterdir()) == []
    assert (outside / "mine").read_text() == "mine"


@pytest.mark.parametrize("planted", ["link", "open", "file", "foreign"])
def test_what_somebody_else_put_in_its_place(parent: Path, planted: str) -> None:
    """It is left as it is, and tools work elsewhere."""
    theirs = outer_made(parent / "theirs")
    (theirs / "0123").mkdir()
    if planted == "link":
        own(parent).symlink_to(theirs)
    elif planted == "file":
        own(parent).write_text("x")
    else:
        own(parent).mkdir(mode=0o777 if planted == "open" else 0o700)
        own(parent).chmod(0o777 if planted == "open" else 0o700)
        (own(parent) / "0123").mkdir()
        if planted == "foreign":
            if os.getuid() != 0:
                pytest.skip("only root gives a folder away")
            os.chown(own(parent), 4_711, 4_711)
    scratch = Scratch()
    with scratch.folder() as (_, path):
        assert not path.startswith(str(own(parent)) + "/")
        assert stat.S_IMODE(Path(path).parent.stat().st_mode) == 0o700
    scratch.close()
    assert (theirs / "0123").exists()
    assert sorted(one.name for one in parent.iterdir()) == sorted(["theirs", own(parent).name])


def test_very_many_and_very_deep(parent: Path) -> None:
    """Counted no further than any tool needs."""
    many, deep = outer_made(parent / "many"), outer_made(parent / "deep")
    for n in range(1_200):
        (many / str(n)).touch()
    nest(deep, 40)
    for folder in (many, deep):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        assert held_bytes(fd) >= FULL
        empty(fd)
        os.close(fd)
        assert list(folder.iterdir()) == []


def test_a_scan_where_a_tree_was_planted(parent: Path) -> None:
    """Wherever it lies: the tool runs, and the broker lives."""
    for name in ("stoq-tools-4194000-x", own(parent).name):
        folder = outer_made(parent / name)
        nest(outer_made(folder / "0123"), 1_100)
    with stage(scan__only=["tooled"], sandbox__tools={"script": "/bin/sh"}) as sandbox:
        assert not sandbox.scan(b"#!script\nexit 0\n").errors
