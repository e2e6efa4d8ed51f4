"""From TrID's guess to workers, with the worker tests' stand-in for TrID."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plugins.dispatchers.trid import Trid
from stoq_core.job import Dispatch
from stoq_core.testing import job, make, payload
from stoq_core.tools import LocalTools
from tests.plugins.workers.test_trid import SAID, stand_in


def ask(folder: Path, content: bytes, said: str = SAID, **options: Any) -> list[Dispatch]:
    """What the dispatcher yields when TrID says this."""
    dispatcher = make(Trid, bin="trid-stand-in", defs="/defs", **options)
    work = job(dispatcher)
    work._tools = LocalTools({"trid-stand-in": str(stand_in(folder, said))}, allowed=list(dispatcher.tools))
    return list(dispatcher.dispatch(payload(content), work))


def test_the_likeliest_guess_names_workers(tmp_path: Path) -> None:
    """The top guess alone, with itself as meta."""
    (one,) = ask(tmp_path, b"1")
    assert one.plugin == "peinfo"
    assert (one.meta["extension"], one.meta["percent"]) == ("exe", 41.0)


def test_an_unlikely_guess_names_none(tmp_path: Path) -> None:
    """Below the least percentage nothing is dispatched; without guesses neither."""
    assert ask(tmp_path, b"2", min_percent=50) == []
    assert ask(tmp_path, b"3", "Unknown!\n") == []


def test_the_users_routes_go_over_the_shipped_ones(tmp_path: Path) -> None:
    """By extension, with or without its point; an empty list switches a shipped route off."""
    assert [one.plugin for one in ask(tmp_path, b"4", routes={".EXE": ["mine", "lief"]})] == ["mine", "lief"]
    assert ask(tmp_path, b"5", routes={"exe": []}) == []


def test_several_extensions_of_one_definition(tmp_path: Path) -> None:
    """Each names its workers, each worker once."""
    said = " 90.0% (.EXE/DLL/O) of three kinds\n"
    assert [one.plugin for one in ask(tmp_path, b"6", said)] == ["peinfo", "lief"]
