"""Write a file so that a reader sees the whole of it or nothing, even when the writer is killed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any


def write_whole(target: Path, parts: Any) -> None:
    """Write `parts` (buffers) beside the target, flush them to disk, then put the file in its place."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd, name = tempfile.mkstemp(prefix=".partial-", dir=target.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
