"""Windows shortcuts: what they start, and what is appended to them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from plugins._formats.executables.shortcut import HEADER, read_shortcut
from stoq_core.job import Job
from stoq_core.options import Options
from stoq_core.payload import Payload
from stoq_core.plugin import Accepts, Worker

_MOST_CHARS = 8_192
_LEAST_ARGUMENTS = 16


class LnkResult(msgspec.Struct, omit_defaults=True):
    """The texts of the shortcut, where it has them; each is cut at 8,192 characters."""

    target: str = ""
    description: str = ""
    relative_path: str = ""
    working_directory: str = ""
    arguments: str = ""
    icon: str = ""


class Lnk(Worker[Options]):
    """Children: the arguments as text, and what stands behind the structure (`tail`).

    Shortcuts that install something carry it behind their end, and take it out by their arguments.
    """

    roles = ("opens",)
    accepts = Accepts(magic=(HEADER,))
    result = LnkResult
    findings = {
        "lnk_appended": (100, "bytes are appended to a shortcut", ("T1027.012",)),
    }

    def scan(self, payload: Payload, job: Job) -> Iterable[Any]:
        """Yield the finding, the arguments and one `LnkResult`."""
        shortcut = read_shortcut(payload.view())
        for offset, size in shortcut.parts:
            job.account.searched(offset, size)
        appended = payload.size - shortcut.end
        if appended > 0 and any(payload.view()[shortcut.end :]):
            yield self.finding("lnk_appended", f"{appended} bytes")
        arguments = shortcut.texts.get("arguments", "")
        if len(arguments) >= _LEAST_ARGUMENTS:
            yield job.child([arguments.encode("utf-8", "replace")], name="arguments.txt")
        yield LnkResult(**{name: text[:_MOST_CHARS] for name, text in shortcut.texts.items()})
