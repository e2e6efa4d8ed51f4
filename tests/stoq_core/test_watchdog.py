"""The watchdog: who overstays is stopped, who does not is never touched, and nothing is left on its way."""

from __future__ import annotations

import threading
import time

import pytest

from stoq_core.watchdog import Overtime, Watchdog


def spin(seconds: float) -> None:
    """Busy Python code."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def overstay(dog: Watchdog, allowed_s: float) -> None:
    """A step that takes far longer than it may."""
    try:
        dog.arm(allowed_s)
        spin(10)
    finally:
        dog.disarm()


def test_a_python_loop_is_stopped() -> None:
    """A loop that never ends gets `Overtime`, and after `disarm` nothing comes any more."""
    dog = Watchdog()
    began = time.monotonic()
    with pytest.raises(Overtime):
        overstay(dog, 0.05)
    assert time.monotonic() - began < 2
    spin(0.1)


def test_swallowing_does_not_help() -> None:
    """Code that catches everything is interrupted again and again."""
    dog, caught = Watchdog(), 0
    dog.arm(0.01)
    until = time.monotonic() + 5
    while caught < 3 and time.monotonic() < until:
        try:
            spin(1)
        except BaseException:  # noqa: BLE001 - as hostile code would
            caught += 1
    dog.disarm()
    assert caught == 3
    spin(0.1)


def test_steps_that_end_at_their_time_leave_nothing_behind() -> None:
    """However close to its time a step ends, in however many threads, no exception comes after it."""
    dog, leaked, stopped = Watchdog(), [], []

    def work(seed: int) -> None:
        try:
            for turn in range(60):
                try:
                    dog.arm(0.002)
                    try:
                        spin(0.001 + (seed * 7 + turn) % 10 * 0.004)
                    finally:
                        dog.disarm()
                except Overtime:
                    dog.disarm()
                    stopped.append(seed)
                spin(0.0005)
        except Overtime:
            leaked.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not leaked
    assert stopped


def test_the_thread_ends_when_idle_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing watches while there is nothing to watch; the next step is watched again."""
    monkeypatch.setattr("stoq_core.watchdog._IDLE_S", 0.01)
    dog = Watchdog()
    dog.arm(60)
    first = dog._thread
    dog.disarm()
    assert first is not None
    first.join(5)
    assert not first.is_alive()
    assert dog._thread is None
    with pytest.raises(Overtime):
        overstay(dog, 0.01)
