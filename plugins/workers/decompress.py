"""Take archives and compressed files apart: every member becomes a child."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import msgspec

from plugins._formats.archives.by_tool import TOOLS, read_by_7z
from plugins._formats.archives.declare import Source
from plugins._formats.archives.detect import detect_all
from plugins._formats.archives.entry import BadArchive, Entry, Member, WrongPassword
from plugins._formats.archives.readers import FORMATS
from plugins._formats.archives.sevenzip import SevenZip, end_of_7z
from plugins._formats.archives.zip import open_zip, read_zip
from stoq_core.body import BodyWriter
from stoq_core.errors import LimitReached, PluginError, Reason
from stoq_core.job import Child, Job
from stoq_core.options import Options, about
from stoq_core.payload import Payload
from stoq_core.plugin import Worker

_USUAL_PASSWORDS = ("infected", "malware", "virus", "password", "1234", "123456")
_MIN_EXTRA_BYTES = 16
_MOST_RECORDS = 200_000
_SAID_OF_A_KIND = 3


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
        view = payload.view()
        work = _Work(kind, job, self._passwords(job), self.options.max_members)
        try:
            if kind == "zip":
                yield from work.zip(payload)
            elif kind == "7z":
                yield from work.seven_zip(payload)
            else:
                yield from work.members(FORMATS[kind].read(Source(view, payload, job, work.passwords)))
        except LimitReached as error:
            work.sum_up()
            if work.result.count:
                yield work.result
            raise error
        except PluginError as error:
            work.report(error)
        except (struct.error, IndexError, ValueError, OverflowError) as error:
            work.report(BadArchive(Reason.CORRUPT, f"the structure does not hold: {error}"))
        work.sum_up()
        if work.result.count or (work.opened and kind != "upx"):  # a program with UPX's mark alone is none
            yield work.result

    def _passwords(self, job: Job) -> list[str]:
        usual = _USUAL_PASSWORDS if self.options.usual_passwords else ()
        return list(dict.fromkeys((*job.passwords, *self.options.passwords, *usual)))


class _Work:
    """One archive being taken apart."""

    def __init__(self, kind: str, job: Job, passwords: Sequence[str], max_members: int) -> None:
        self.job = job
        self.passwords = passwords
        self.max_members = max_members
        self.result = DecompressResult(format=kind, members=[], count=0)
        self.opened = False
        self._unsupported: dict[int, PluginError] = {}
        self._reported: Counter[tuple[str, Reason]] = Counter()

    def report(self, error: PluginError) -> None:
        """An archive or member that cannot be read: an error and a reason; the first of a kind by name."""
        kind = (error.code, error.reason or Reason.CORRUPT)
        self._reported[kind] += 1
        if self._reported[kind] <= _SAID_OF_A_KIND:
            self.job.error(error.code, error.message)
            self.job.unread(kind[1], error.message)

    def sum_up(self) -> None:
        """How many more failed as those did that were named: 300 members behind one password are one news."""
        for (code, reason), count in self._reported.items():
            if count > _SAID_OF_A_KIND:
                message = f"the same for {count - _SAID_OF_A_KIND} more"
                self.job.error(code, message)
                self.job.unread(reason, message)

    def members(self, entries: Iterator[Entry]) -> Iterator[Child]:
        """Each member that is a file, as a child; the listing goes on when no child fits any more."""
        full: LimitReached | None = None
        for index, entry in enumerate(entries):
            if index >= _MOST_RECORDS:
                raise LimitReached(Reason.TOO_MANY_PAYLOADS, f"only {_MOST_RECORDS} members are listed")
            if self.job.deadline.expired:
                raise LimitReached(Reason.TIMEOUT, "there are more members than can be listed in time")
            self._list(entry.member)
            if entry.open is None or full is not None:
                continue
            try:
                child = self._child(entry, index)
            except LimitReached as error:
                full = error
                continue
            if child is not None:
                yield child
        self.opened = True
        if full is not None:
            raise full

    def _list(self, member: Member) -> None:
        self.result.count += 1
        if len(self.result.members) < self.max_members:
            self.result.members.append(member)

    def _child(self, entry: Entry, index: int) -> Child | None:
        member = entry.member
        if self.job.children_left <= 0:
            self.job.child([b""])  # raises with the right words
        assert entry.open is not None
        try:
            chunks = entry.open(self.passwords)
        except PluginError as error:
            self._failed(error, member, index)
            return None
        child, problem = self.job.salvage(chunks, name=member.name, **_facts(member))
        if isinstance(problem, PluginError):
            self._failed(problem, member, index)
        if member.password is not None:
            self.result.password = member.password
        if problem is None:
            return child
        if isinstance(problem, PluginError):
            return child if child.body.size else None
        self.report(BadArchive(Reason.CORRUPT, f"{type(problem).__name__}: {problem}"))
        return child if child.body.size else None

    def _failed(self, error: PluginError, member: Member, index: int) -> None:
        """A member that was not read; a method that only zip tools know is tried again with 7-Zip."""
        if self.result.format == "zip" and error.reason is Reason.UNSUPPORTED_METHOD:
            self._unsupported[index] = error
            member.password = None  # one that only passed the check of one byte
        else:
            self.report(error)

    def _rescue(self, payload: Payload, wanted: dict[int, PluginError] | None) -> Iterator[Child]:
        """What the libraries cannot decompress, by 7-Zip: all, or the members at these positions."""
        if self.result.password is not None:
            self.passwords = [self.result.password, *self.passwords]
        entries = list(read_by_7z(self.job, payload, self.result.format, self.passwords))
        if wanted is not None and len(entries) != self.result.count:
            raise BadArchive(Reason.UNSUPPORTED_METHOD, "7-Zip lists other members than there are")
        for index, entry in enumerate(entries):
            if entry.open is None or (wanted is not None and index not in wanted):
                continue
            child, problem = self.job.salvage(entry.open(()), name=entry.member.name, **_facts(entry.member))
            if entry.member.password is not None:
                self.result.password = entry.member.password
            if isinstance(problem, PluginError):
                self.report(problem)
            if problem is None or child.body.size:
                yield child

    def zip(self, payload: Payload) -> Iterator[Child]:
        """The members, and what stands before the first and behind the end."""
        view = payload.view()
        zipped = open_zip(view, _MOST_RECORDS)
        if zipped.problem is not None:
            self.report(zipped.problem)
        yield from self._extra(view[: zipped.first], "leading", 0)
        yield from self.members(read_zip(view, zipped))
        if self._unsupported:
            try:
                yield from self._rescue(payload, self._unsupported)
            except LimitReached:
                raise
            except PluginError as error:
                locked = error.reason is Reason.ENCRYPTED_ARCHIVE
                for one in [error] if locked else self._unsupported.values():
                    self.report(one)
        if zipped.problem is None:
            yield from self._extra(view[zipped.end :], "trailing", zipped.end)

    def _extra(self, view: memoryview, name: str, offset: int) -> Iterator[Child]:
        if len(view) >= _MIN_EXTRA_BYTES and any(view):
            yield self.job.child([view], name=name, offset=offset)

    def seven_zip(self, payload: Payload) -> Iterator[Child]:
        """py7zr pushes members out; each is a child once all are through or a limit says stop.

        What stands behind the archive is one, too.
        """
        view = payload.view()
        end = end_of_7z(view)
        yield from self._extra(view[end:], "trailing", end)
        archive = SevenZip(payload.open(), self.passwords)
        for entry in archive.entries():
            self._list(entry.member)
        self.opened = True
        sinks = _Sinks(self.job.total_left)
        problem: BadArchive | LimitReached | None = None
        try:
            archive.extract(sinks.anew)
        except (BadArchive, LimitReached) as error:
            problem = error
        self.result.password = archive.password
        if problem is not None and problem.reason is Reason.UNSUPPORTED_METHOD:
            yield from self._rescue(payload, None)
            return
        for name, writer in sinks.writers:
            if not isinstance(problem, WrongPassword):
                yield self.job.child(writer.finish(), name=name)
        if isinstance(problem, LimitReached):
            raise problem
        if problem is not None:
            self.report(problem)


class _Sinks:
    """Takes what py7zr pushes, up to a number of bytes altogether."""

    def __init__(self, room: int) -> None:
        self.writers: list[tuple[str, BodyWriter]] = []
        self._all = self._room = room

    def anew(self) -> Callable[[str], Callable[[bytes], None]]:
        """Forget what a wrong password wrote."""
        self.writers.clear()
        self._room = self._all
        return self._begin

    def _begin(self, name: str) -> Callable[[bytes], None]:
        writer = BodyWriter()
        self.writers.append((name, writer))

        def take(data: bytes) -> None:
            if len(data) > self._room:
                writer.write(data[: self._room])
                raise LimitReached(Reason.TOO_MANY_BYTES, "the 7z expands beyond the limits; see [limits]")
            self._room -= len(data)
            writer.write(data)

        return take


def _facts(member: Member) -> dict[str, Any]:
    facts = {"modified": member.modified, "mode": member.mode}
    return {key: value for key, value in facts.items() if value is not None}
