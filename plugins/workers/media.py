"""Account for pictures, sound, video and fonts: what is media, and what is free for other bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import msgspec

from plugins._formats.archives.declare import Source
from plugins._formats.filetype import kind_of
from plugins._formats.media.readers import FORMATS
from stoq_core.errors import PluginError, Reason
from stoq_core.job import Job
from stoq_core.options import Options
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_MOST_NAMES = 100


class MediaResult(msgspec.Struct, frozen=True):
    """The `format`, and the names of the `parts` that became children (the first 100)."""

    format: str
    parts: list[str]


class Media(Worker[Options]):
    """PNG, GIF, JPEG, TIFF, BMP, icons, PSD, metafiles; MP3, FLAC, Ogg, WAV; MP4, AVI, MKV, ASF, FLV; fonts.

    Headers and tables are structure; pixels, samples and glyphs are media; remarks, profiles, thumbnails,
    attachments and unknown chunks are children, packed ones inflated; whatever is left, such as what
    stands behind the end, becomes a child by the account. Pixels that spell a text are given, too.
    """

    roles = ("opens",)
    libraries = {"brotli": "brotli (in requirements.txt)"}
    errors = {
        "corrupt": "the structure or packed data does not hold",
        "truncated": "the file ends too early",
        "too_large": "packed data are larger than the limits",
        "too_many_payloads": "there are more parts than are read",
        "unsupported_method": "a kind of the format that is not read",
    }
    result = MediaResult

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield a child a part, then one `MediaResult`."""
        label = kind_of(payload).label
        declared = FORMATS.get(label)
        if declared is None:
            return
        names: list[str] = []
        source = Source(payload.view(), payload, job, ())
        source.account.structure(0, 0)
        try:
            for entry in declared.read(source):
                assert entry.open is not None
                if len(names) < _MOST_NAMES:
                    names.append(entry.member.name)
                yield job.child(entry.open(()), name=entry.member.name, offset=entry.offset)
        except PluginError as error:
            if error.reason is None or error.code not in self.errors:
                raise
            job.error(error.code, error.message)
            job.unread(error.reason, error.message)
        except (struct.error, IndexError, ValueError, OverflowError) as error:
            job.error("corrupt", f"the structure does not hold: {error}")
            job.unread(Reason.CORRUPT, f"the structure does not hold: {error}")
        yield MediaResult(label, names)
