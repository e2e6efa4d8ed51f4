"""LIEF as the workers use it: silent, and reading a payload where it lies."""

from __future__ import annotations

import os
import warnings
from typing import Any

from stoq_core.payload import Payload


def library() -> Any:
    """The module. It would write what it thinks of a file to standard error, and warn of each odd number."""
    import lief

    lief.logging.disable()
    # what the bindings say when a field of a file holds a value that its enumeration does not know
    warnings.filterwarnings("ignore", r"-?\d+ is not a valid ", RuntimeWarning)
    return lief


def source(payload: Payload) -> bytes | str:
    """What LIEF's parsers take: the path of a large body, which they then read without a copy here."""
    fd = payload.body.fd
    path = f"/proc/self/fd/{fd}"
    return path if fd is not None and os.path.exists(path) else payload.content
