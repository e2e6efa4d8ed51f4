"""Each parser of hostile formats against mutations of real samples: a little here, a minute under `soak`.

To add a plugin, add a row to `PARSERS`: its class, and a function that gives its seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from plugins.workers.carve import Carve
from plugins.workers.javaclass import Javaclass
from plugins.workers.lief import Lief
from plugins.workers.pecarve import Pecarve
from plugins.workers.peinfo import Peinfo
from plugins.workers.smtp import Smtp
from plugins.workers.symhash import Symhash
from plugins.workers.tnef import Tnef
from stoq_core.plugin import Worker
from stoq_core.testing import make
from tests import samples
from tests.fuzz import survive
from tests.hide.cargo import CARGO, TEXT

_MOST_SEEDS, _SEED_BYTES = 60, 600_000


@cache
def _executables() -> list[Path]:
    return list(samples.executables())


def of_magic(*magic: bytes) -> Callable[[], list[bytes]]:
    """The smaller ones of the executables that begin with one of these."""

    def seeds() -> list[bytes]:
        small = [one.read_bytes() for one in _executables() if one.stat().st_size <= _SEED_BYTES]
        return sorted({one for one in small if one.startswith(magic)}, key=lambda one: (len(one), one))[
            :_MOST_SEEDS
        ]

    return seeds


def containers() -> list[bytes]:
    """Files with a Windows executable somewhere inside."""
    return [one for one in of_magic(b"")() if b"PE\0\0" in one[4:]]


def mails() -> list[bytes]:
    """mail-parser's and CPython's mails, small ones."""
    files = [*samples.files("mail-parser"), *samples.files("email")]
    return [one.read_bytes() for one in files if one.stat().st_size <= _SEED_BYTES // 10][:_MOST_SEEDS]


def packed() -> list[bytes]:
    """Every cargo of `tests/hide` behind some bytes."""
    return [b"lead" + made for pack in CARGO.values() if (made := pack(TEXT))]


PARSERS: dict[str, tuple[type[Worker[Any]], Callable[[], list[bytes]]]] = {
    "carve": (Carve, packed),
    "javaclass": (Javaclass, of_magic(b"\xca\xfe\xba\xbe")),
    "lief-elf": (Lief, of_magic(b"\x7fELF")),
    "lief-macho": (Lief, of_magic(b"\xca\xfe\xba\xbe", b"\xce\xfa\xed\xfe")),
    "lief-pe": (Lief, of_magic(b"MZ")),
    "pecarve": (Pecarve, containers),
    "peinfo": (Peinfo, of_magic(b"MZ")),
    "smtp": (Smtp, mails),
    "symhash": (Symhash, of_magic(b"\xca\xfe\xba\xbe")),
    "tnef": (Tnef, lambda: [one.read_bytes() for one in samples.files("tnefparse")]),
}


@pytest.mark.parametrize("name", sorted(PARSERS))
def test_a_few_mutations(name: str) -> None:
    """Flipped, cut and spliced samples end in emits or an error, within the limits."""
    worker, seeds = PARSERS[name]
    survive(make(worker), seeds(), examples=60)


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(PARSERS))
def test_mutations_for_a_minute(name: str) -> None:
    """The same for a minute each."""
    worker, seeds = PARSERS[name]
    survive(make(worker), seeds(), seconds=60)
