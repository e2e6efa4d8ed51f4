"""What ExifTool reads out of a file: its format's metadata, flat and numeric."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Annotated, Any

from stoq_core.errors import PluginError, Reason
from stoq_core.job import Job
from stoq_core.limits import MiB
from stoq_core.operations import Operation, Tool
from stoq_core.options import Options, about
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

# an empty configuration, JSON, numbers as numbers, UTF-8 whatever the file's own encoding is
_ARGUMENTS = ("-config", "", "-j", "-n", "-q", "-charset", "filename=UTF8", "-api", "LargeFileSupport=1")
# what the scratch file is called and when it was made is nobody's business
_OF_THE_SCRATCH_FILE = {
    "directory", "fileaccessdate", "filecreatedate", "fileinodechangedate", "filemodifydate", "filename",
    "filepermissions", "filesize", "sourcefile",
}  # fmt: skip
_OUTPUT_BYTES, _MOST_KEYS, _VALUE_CHARS = 16 * MiB, 2_000, 8_192
_MOST_ITEMS = 500


class ExifOptions(Options, frozen=True):
    """What to leave out."""

    exclude: Annotated[tuple[str, ...], about("names of tags to leave out, letter case aside")] = ()


class Exif(Worker[ExifOptions]):
    """The result has ExifTool's own keys (`FileType`, `MIMEType`, `CreateDate` and so on), without groups.

    `SourceFile`, `FileName` and `Directory` are the payload's own name, `FileSize` its bytes; dates and
    modes of the file that ExifTool was handed are left out, and times without a zone are UTC. `Error`
    and `Warning` are what ExifTool thinks of the file. Long texts and lists are cut: `cut` names them.
    It takes a tenth of a second a payload, so it is not in `scan.always` unless you put it there.
    """

    tools = {
        "exiftool": Tool(
            brings="libimage-exiftool-perl",
            operations={"read": Operation(words=(*_ARGUMENTS, "{payload}"))},
            reads=("lib",),
        )
    }
    errors = {
        "exiftool_failed": "ExifTool gave no JSON",
        "tool_missing": "there is no ExifTool here",
        "timeout": "ExifTool took too long",
        "too_many_bytes": "ExifTool wrote more than 16 MiB",
    }
    essential = False
    reads_meta = True

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield one mapping."""
        if not payload.size:
            return
        ran = job.tool("exiftool", "read", payload, output_bytes=_OUTPUT_BYTES)
        try:
            # ExifTool lets bytes through that are no UTF-8, and control characters in texts
            said = json.loads(ran.stdout.content().decode("utf-8", "replace"), strict=False)[0]
        except (ValueError, IndexError, KeyError, RecursionError) as error:
            message = f"exit code {ran.code}, {type(error).__name__}: {ran.stderr[:300]}"
            raise PluginError("exiftool_failed", message, reason=Reason.PLUGIN_FAILED) from None
        unwanted = _OF_THE_SCRATCH_FILE | {one.lower() for one in self.options.exclude}
        told = {key: value for key, value in said.items() if key.lower() not in unwanted}
        yield {**self._of_the_payload(payload), **_bounded(told)}

    def _of_the_payload(self, payload: Payload) -> dict[str, Any]:
        path = PurePosixPath(payload.name)
        known = {
            "SourceFile": payload.name,
            "FileName": path.name,
            "Directory": str(path.parent) if payload.name else "",
            "FileSize": payload.size,
        }
        excluded = {one.lower() for one in self.options.exclude}
        return {key: value for key, value in known.items() if key.lower() not in excluded and value != ""}


def _bounded(told: dict[str, Any]) -> dict[str, Any]:
    """Texts, lists and the number of keys within bounds; `cut` names what was longer."""
    made: dict[str, Any] = {}
    cut: list[str] = []
    for key, value in told.items():
        if len(made) >= _MOST_KEYS:
            cut.append("…")
            break
        made[key] = _short(value)
        if made[key] != value:
            cut.append(key)
    return {**made, "cut": cut} if cut else made


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value[:_VALUE_CHARS]
    if isinstance(value, list):
        return [_short(one) for one in value[:_MOST_ITEMS]]
    return value
