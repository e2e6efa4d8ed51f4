"""Files in flight: answered in order, bounded in number and bytes, each failure its own."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from handlers.local.in_flight import in_flight


def files(folder: Path, *sizes: int) -> list[Path]:
    """Files of these sizes."""
    made = []
    for number, size in enumerate(sizes):
        file = folder / f"{number:03}"
        file.write_bytes(bytes(size))
        made.append(file)
    return made


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_answers_come_in_the_files_order(tmp_path: Path, at_once: int) -> None:
    """However long each takes: the first waits for the second here, where two run side by side."""
    many = files(tmp_path, *[1] * 40)
    second = threading.Event()

    def scan(file: Path) -> str:
        if at_once > 1 and file == many[0]:
            assert second.wait(10)
        if file == many[1]:
            second.set()
        return file.name

    answers = in_flight(many, scan, at_once=at_once, held_bytes=1_000)
    assert [(file, answer()) for file, answer in answers] == [(file, file.name) for file in many]


def test_a_failure_is_its_files_own(tmp_path: Path) -> None:
    """What a scan raises is raised where its answer is asked for; the others have theirs."""
    many = files(tmp_path, 1, 1, 1)

    def scan(file: Path) -> str:
        if file == many[1]:
            raise OSError("gone")
        return file.name

    calls = [answer for _, answer in in_flight(many, scan, at_once=2, held_bytes=1_000)]
    assert (calls[0](), calls[2]()) == ("000", "002")
    with pytest.raises(OSError, match="gone"):
        calls[1]()


def test_bytes_in_flight_are_bounded(tmp_path: Path) -> None:
    """A file that does not fit beside those begun waits for them; one that is too large alone goes alone."""
    sizes = (60, 60, 30, 30, 500, 10)
    many, lock, now, most = files(tmp_path, *sizes), threading.Lock(), [0], [0]

    def scan(file: Path) -> int:
        size = file.stat().st_size
        with lock:
            now[0] += size
            most[0] = max(most[0], now[0] if size < 500 else now[0] - size)
        with lock:
            now[0] -= size
        return size

    assert [answer() for _, answer in in_flight(many, scan, at_once=4, held_bytes=100)] == list(sizes)
    assert most[0] <= 100


def test_nothing_is_begun_for_answers_that_nobody_takes(tmp_path: Path) -> None:
    """A user who stops the command waits for what is in work, not for all that is left."""
    begun: list[Path] = []
    answers = in_flight(files(tmp_path, *[1] * 200), begun.append, at_once=2, held_bytes=1_000)
    next(answers)[1]()
    answers.close()
    assert len(begun) <= 2 * (1 + 4) + 1
