"""Take archives and compressed files apart: every member becomes a child."""

from __future__ import annotations

import itertools
import re
import struct
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec

from plugins._formats.archives.by_tool import TOOLS
from plugins._formats.archives.declare import Source
from plugins._formats.archives.detect import detect_all
from plugins._formats.archives.entry import BadArchive, Entry, Member
from plugins._formats.archives.readers import FORMATS
from plugins._text.passwords import GUESSED_PASSWORDS, USUAL_PASSWORDS, seasonal
from stoq_core.errors import LimitReached, PluginError, Reason
from stoq_core.job import Child, Finding, Job
from stoq_core.options import Options, about
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_MOST_RECORDS = 200_000
_SAID_OF_A_KIND = 3
_PATH = re.compile(rb"[\w./@+,:~=-]{0,255}")


class DecompressOptions(Options, frozen=True):
    """What to try and how much to list."""

    passwords: Annotated[tuple[str, ...], about("tried on encrypted archives after the request's own")] = ()
    usual_passwords: Annotated[bool, about("also try those that malware samples are usually given")] = True
    max_members: Annotated[int, about("members listed in the result", ge=0)] = 1_000


class DecompressResult(msgspec.Struct, omit_defaults=True, kw_only=True):
    """`format`, `members` as listed, `count` of all, the `password` that worked."""

    format: str
    members: list[Member]
    count: int
    password: str | None = None


class Decompress(Worker[DecompressOptions]):
    """Every archive and compression format below, one level at a time: the engine opens what is inside.

    In process: zip (all usual methods, both encryptions), 7z, tar, gzip, bzip2, xz, lzma, zstd, lz4,
    brotli (by the name `.br`), compress (.Z), szdd, cpio, ar, deb, rpm, cab, arj, lzh, ace, xar, iso (Joliet,
    Rock Ridge), udf, dmg, vhd, vhdx, disk images with partitions, squashfs, the data of NSIS and
    InstallShield setup programs. By a program: rar (listed by 7-Zip, read by unar); wim, ntfs, fat, ext,
    hfs, apfs and the rare methods of the others (7-Zip); upx.

    Members reach no file system. Links and devices are listed, not followed. A wrong password is
    `encrypted_archive`, never an empty file. What could be read of damaged data is kept.
    """

    roles = ("opens",)
    libraries = {
        "py7zr": "py7zr (in requirements.txt)",
        "inflate64": "inflate64 (in requirements.txt)",
        "cryptography": "cryptography (in requirements.txt)",
        "lz4": "lz4 (in requirements.txt)",
        "brotli": "brotli (in requirements.txt)",
    }
    tools = TOOLS
    errors = {
        "corrupt": "the structure or a checksum does not hold",
        "truncated": "the file ends too early, or goes on in another volume",
        "unsupported_method": "a compression that is not read",
        "encrypted_archive": "no password fits",
        "ratio": "members overlap, or expand beyond the limit",
        "too_large": "a member or a decoder's window is larger than the limits",
        "too_many_bytes": "the members are together larger than the limits",
        "too_many_payloads": "there are more members or folders than the limits allow",
        "tool_missing": "the program that opens this format is not installed",
        "plugin_missing": "the library that opens this format is not installed",
        "timeout": "the program took too long",
    }
    findings = {
        "archive_read_two_ways": (
            400,
            "An archive whose records contradict each other: one program extracts what another does not see",
            ("T1036",),
        ),
    }
    reads_meta = True
    result = DecompressResult

    def scan(self, payload: Payload, job: Job) -> Iterator[Any]:
        """Yield a child a member, then one `DecompressResult` of the first format that the payload is."""
        asked = frozenset(str(meta.get("filetype", "")) for meta in job.dispatch_meta)
        for number, kind in enumerate(detect_all(payload.view(), payload.name, asked)):
            for emit in self._read(kind, payload, job):
                if not number or not isinstance(emit, DecompressResult):
                    yield emit

    def _read(self, kind: str, payload: Payload, job: Job) -> Iterator[Any]:
        """The payload as one format."""
        work = _Work(self, kind, job)
        guesses = (*GUESSED_PASSWORDS, *seasonal()) if self.options.usual_passwords else ()
        source = Source(payload.view(), payload, job, self._passwords(job), guesses)
        try:
            yield from work.members(source, FORMATS[kind].read(source))
        except LimitReached as error:
            yield from work.end()
            raise error
        except PluginError as error:
            work.report(error)
        except (struct.error, IndexError, ValueError, OverflowError) as error:
            work.report(BadArchive(Reason.CORRUPT, f"the structure does not hold: {error}"))
        yield from work.end()

    def _passwords(self, job: Job) -> list[str]:
        usual = USUAL_PASSWORDS if self.options.usual_passwords else ()
        return list(dict.fromkeys((*job.passwords, *self.options.passwords, *usual)))


class _Work:
    """One archive being taken apart."""

    def __init__(self, worker: Decompress, kind: str, job: Job) -> None:
        self.worker = worker
        self.job = job
        self.result = DecompressResult(format=kind, members=[], count=0)
        self.opened = False
        self._reported: Counter[tuple[str, Reason]] = Counter()
        self._found: dict[str, Finding] = {}

    def report(self, error: PluginError) -> None:
        """An archive or member that cannot be read: an error and a reason; the first of a kind by name."""
        kind = (error.code, error.reason or Reason.CORRUPT)
        self._reported[kind] += 1
        if self._reported[kind] <= _SAID_OF_A_KIND:
            self.job.error(error.code, error.message)
            self.job.unread(kind[1], error.message)

    def end(self) -> Iterator[Finding | DecompressResult]:
        """What was found, and the result, where there is any of an archive.

        How many more failed as those did that were named: 300 members behind one password are one news.
        """
        for (code, reason), count in self._reported.items():
            if count > _SAID_OF_A_KIND:
                message = f"the same for {count - _SAID_OF_A_KIND} more"
                self.job.error(code, message)
                self.job.unread(reason, message)
        yield from self._found.values()
        if self.result.count or (self.opened and self.result.format != "upx"):  # upx's mark alone is none
            yield self.result

    def members(self, source: Source, entries: Iterator[Entry]) -> Iterator[Child]:
        """Each member with bytes, as a child.

        One that is too large ends there, and those behind it are tried all the same.
        """
        full: LimitReached | None = None
        for index in itertools.count():
            entry = next(entries, None)
            if entry is None:
                break
            if index >= _MOST_RECORDS:
                raise LimitReached(Reason.TOO_MANY_PAYLOADS, f"only {_MOST_RECORDS} members are listed")
            if self.job.deadline.expired:
                raise LimitReached(Reason.TIMEOUT, "there are more members than can be listed in time")
            self._list(entry)
            if entry.open is None:
                continue
            try:
                child = self._child(entry, source)
            except LimitReached as error:
                full = full or error
                self._claim(entry, whole=False)
                continue
            if child is not None:
                yield child
        self.opened = True
        if full is not None:
            raise full

    def _list(self, entry: Entry) -> None:
        member = entry.member
        self.result.count += 1
        if len(self.result.members) < self.worker.options.max_members:
            self.result.members.append(member)

    def _child(self, entry: Entry, source: Source) -> Child | None:
        """The member's bytes as far as they can be read; none where a link's or folder's are but a name."""
        member = entry.member
        if _is_but_a_name(entry, source.view):
            self._claim(entry, whole=True)
            return None
        if self.job.children_left <= 0:
            self.job.child([b""])  # raises with the right words
        assert entry.open is not None
        try:
            chunks = entry.open(source.passwords)
            child, problem = self.job.salvage(chunks, name=member.name, **_facts(member))
        except LimitReached:
            raise
        except PluginError as error:
            child, problem = None, error
        if entry.contradicts:
            name = "archive_read_two_ways"
            self._found.setdefault(name, self.worker.finding(name, entry.contradicts))
        self._claim(entry, whole=problem is None and child is not None and child.truncated is None)
        if member.password is not None:
            self.result.password = member.password
        if isinstance(problem, PluginError):
            self.report(problem)
        elif problem is not None:
            self.report(BadArchive(Reason.CORRUPT, f"{type(problem).__name__}: {problem}"))
        is_empty = child is None or not child.body.size
        return None if is_empty and (problem is not None or member.kind != "file") else child

    def _claim(self, entry: Entry, *, whole: bool) -> None:
        if entry.packed and entry.offset is not None:
            claim = self.job.account.child if whole else self.job.account.unread
            claim(entry.offset, min([entry.packed, *entry.taken[-1:]]))


def _is_but_a_name(entry: Entry, view: memoryview) -> bool:
    """A link's target that stands in the archive as it is has been seen there."""
    member, at = entry.member, entry.offset
    if member.kind != "symlink" or member.method != "stored" or member.encrypted or at is None:
        return False
    return _PATH.fullmatch(view[at : at + entry.packed]) is not None


def _facts(member: Member) -> dict[str, Any]:
    facts = {
        "modified": member.modified,
        "mode": member.mode,
        "kind": None if member.kind == "file" else member.kind,
    }
    return {key: value for key, value in facts.items() if value is not None}
