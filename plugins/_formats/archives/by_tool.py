"""Archives that a program reads: one listing, one extraction to its standard output, split by size."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from stoq_core.body import Body
from stoq_core.errors import LimitReached, Reason
from stoq_core.job import Job
from stoq_core.limits import MiB
from stoq_core.operations import Operation, Tool
from stoq_core.payload import Payload
from stoq_core.tools import ToolRun

from .declare import Format
from .entry import BadArchive, Chunks, Entry, Member, WrongPassword, sliced
from .rarvolume import alone
from .seven_listing import parse_listing, physical_size

_LISTING_BYTES = 16 * MiB
_MOST_PASSWORDS = 40
_MOST_RUNS = 100
_FILES = frozenset({"file"})
_MOST_CHARS = 1_000

_KIND, _PASSWORD, _MEMBER = r"[A-Za-z0-9]{1,16}", r".{1,1000}", r".{1,4096}"
_FORMAT, _TEXT = "-t{kind}", "-sccUTF-8"
_SILENT = "-p"  # nothing asks for a password


def _by_seven(words: tuple[str, ...], *, locked: bool = False) -> Operation:
    """One way to call 7-Zip; where it is `locked`, it reads the password from standard input."""
    switches = (_FORMAT, _TEXT) if locked else (_FORMAT, _TEXT, _SILENT)
    parameters = {"kind": _KIND, **({"password": _PASSWORD} if locked else {})}
    if any("{member}" in word for word in words):
        parameters["member"] = _MEMBER
    return Operation(
        words=(*words, *switches, "--", "{payload}"),
        parameters=parameters,
        stdin="password" if locked else "",
    )


TOOLS = {
    "7z": Tool(
        brings="7zip",
        operations={
            "list": _by_seven(("l", "-slt")),
            "list_locked": _by_seven(("l", "-slt"), locked=True),
            "unpack": _by_seven(("x", "-so")),
            "unpack_locked": _by_seven(("x", "-so"), locked=True),
            "unpack_one": _by_seven(("x", "-so", "-spd", "-i!{member}")),
        },
    ),
    "unar": Tool(
        brings="unar",
        operations={
            "unpack": Operation(
                words=("-quiet", "-o", "-", "-password={password}", "{payload}"),
                parameters={"password": _PASSWORD},
            )
        },
    ),
    "upx": Tool(
        brings="upx-ucl",
        operations={
            "unpack": Operation(
                words=("-d", "-q", "-o", "unpacked", "{payload}"), files=("unpacked",), copied=True
            )
        },
    ),
}
"""The programs that open archives, and all that they are made to do."""


class Listed(NamedTuple):
    """A member as the program lists it, and what its bytes must hash to (hex CRC-32 or SHA-1), if known."""

    member: Member
    crc: str = ""
    sha1: str = ""


class Listing(NamedTuple):
    """What 7-Zip lists, with the password that it took; `size` is the archive's in bytes, 0 if not known."""

    members: list[Listed]
    password: str | None
    size: int


def read_by_7z(
    job: Job, payload: Payload, kind: str, passwords: Sequence[str], *, accounts: bool = True
) -> Iterator[Entry]:
    """The members as 7-Zip reads them; `kind` is its name of the format. All that it calls so is claimed.

    Raises `WrongPassword`, `BadArchive`, and what `job.tool` raises.
    """
    for listing in _listings(job, payload.body, kind, passwords):
        listed, password = listing.members, listing.password
        if accounts:
            job.account.child(0, listing.size or payload.size)
        locked = any(one.member.encrypted for one in listed)
        try:
            run = _seven(job, "unpack", payload.body, kind, password, job.total_left)
        except LimitReached:
            yield from (Entry(one.member) for one in listed)
            raise
        if locked and run.code and "password" in run.stderr.lower():
            continue
        yield from _split(listed, run.stdout, password if locked else None)
        if run.code > 1 and not _only_links_failed(run.stderr, listed):
            raise _unpacking_failed(run.stderr, "7-Zip cannot read all of the archive")
        return
    raise WrongPassword(kind, len(passwords))


def read_each_by_7z(job: Job, payload: Payload, kind: str) -> Iterator[Entry]:
    """For formats whose listing does not tell sizes: each name by itself, where that gives all there is.

    Where it does not, or where there are very many, they are listed and all bytes are one member more.
    """
    listed = [one.member for found in _listings(job, payload.body, kind, ()) for one in found.members]
    whole = _output(job, payload, kind)
    names = dict.fromkeys(one.name for one in listed if one.kind == "file")
    parts: dict[str, Body] = {}
    if len(names) <= _MOST_RUNS:
        parts = {name: _output(job, payload, kind, name).stdout for name in names}
    split = sum(one.size for one in parts.values()) == whole.stdout.size
    for member in listed:
        body = parts.pop(member.name, None) if split else None
        yield Entry(member) if body is None else _whole(member, body)
    if not split:
        yield _whole(Member(name="content"), whole.stdout)
    if whole.code > 1:
        raise _unpacking_failed(whole.stderr, "7-Zip cannot read all of the archive")


def _output(job: Job, payload: Payload, kind: str, *only: str) -> ToolRun:
    if not only:
        return _seven(job, "unpack", payload.body, kind, None, job.total_left)
    return job.tool("7z", "unpack_one", payload, output_bytes=job.total_left, kind=kind, member=only[0])


def _whole(member: Member, body: Body) -> Entry:
    member.size = body.size
    return Entry(member, lambda _passwords: sliced(body.view()))


def _seven(
    job: Job, operation: str, body: Body, kind: str, password: str | None, output_bytes: int
) -> ToolRun:
    """Run 7-Zip; a password is read from standard input, where no other process sees it."""
    if password is None:
        return job.tool("7z", operation, body, output_bytes=output_bytes, kind=kind)
    return job.tool(
        "7z", f"{operation}_locked", body, output_bytes=output_bytes, kind=kind, password=password
    )


def _listings(job: Job, body: Body, kind: str, passwords: Sequence[str]) -> Iterator[Listing]:
    """What 7-Zip lists, with each password that its headers accept; none is first, if nothing is locked."""
    lines = [one for one in passwords[:_MOST_PASSWORDS] if one.isprintable() and len(one) <= _MOST_CHARS]
    for password in [None, *lines]:
        run = _seven(job, "list", body, kind, password, _LISTING_BYTES)
        listed = [Listed(*one) for one in parse_listing(run.stdout.content())]
        if run.code and not listed:
            said = run.stderr + run.stdout.view()[-4096:].tobytes().decode("utf-8", "replace")
            if "password" not in said.lower():
                raise BadArchive(Reason.CORRUPT, _first_error(said, f"7-Zip cannot open it as {kind}"))
        elif password is not None or not any(one.member.encrypted for one in listed):
            yield Listing(listed, password, physical_size(run.stdout.content()))


def _only_links_failed(said: str, listed: Sequence[Listed]) -> bool:
    """Whether nothing failed but links and devices, which hold no bytes of their own."""
    names = {one.member.name for one in listed if one.member.kind not in ("file", "directory")}
    lines = [one.strip() for one in said.splitlines() if one.strip()]
    failed = [re.match(r"ERROR: Unsupported Method : (.+)", one) for one in lines]
    return bool(lines) and all(one is not None and one.group(1) in names for one in failed)


def _unpacking_failed(said: str, otherwise: str) -> BadArchive:
    reason = Reason.CORRUPT
    if "nexpected end" in said:
        reason = Reason.TRUNCATED
    elif "nsupported" in said:
        reason = Reason.UNSUPPORTED_METHOD
    return BadArchive(reason, _first_error(said, otherwise))


def _first_error(said: str, otherwise: str) -> str:
    for line in said.splitlines():
        if ("ERROR:" in line or "rror:" in line or "Exception:" in line) and "/proc/" not in line:
            return line.strip()[:300]
    return otherwise


def read_rar(
    job: Job, payload: Payload, passwords: Sequence[str], *, body: Body | None = None
) -> Iterator[Entry]:
    """RAR 1.5 to 5: 7-Zip lists, unar writes all members one after the other. `body` replaces the payload's.

    A password fits when all the bytes that were listed come out with the checksums that were listed:
    unar says nothing about a wrong one, and writes less.
    """
    kind = "rar5" if payload.head(7)[6:] == b"\1" else "rar"
    whole = payload.body if body is None else body
    body = alone(whole)
    listed: list[Listed] = []
    for listing in _listings(job, body, kind, passwords):
        listed, password = listing.members, listing.password
        locked = any(one.member.encrypted for one in listed)
        run = _unar(job, body, password)
        if not locked or (not run.code and _complete(listed, run.stdout)):
            yield from _written(listed, run, password if locked else None)
            if body is not whole:
                raise BadArchive(Reason.TRUNCATED, "the archive is one volume of several")
            if run.code:
                raise BadArchive(Reason.CORRUPT, f"unar cannot read all of the archive{_last_words(run)}")
            return
    if listed:
        yield from _open_ones(listed, _unar(job, body, None).stdout)
    raise WrongPassword("rar", len(passwords))


def _unar(job: Job, body: Body, password: str | None) -> ToolRun:
    given = {} if password is None else {"password": password}
    return job.tool("unar", "unpack", body, output_bytes=job.total_left, **given)


def _written(listed: Sequence[Listed], run: ToolRun, password: str | None) -> Iterator[Entry]:
    """The members; one that failed before its first byte has not cut any of them: they are but listed."""
    if run.code and not run.stdout.size:
        return (Entry(one.member) for one in listed)
    return _split(listed, run.stdout, password)


def _last_words(run: ToolRun) -> str:
    lines = [one.strip() for one in run.stderr.splitlines() if one.strip() and "/proc/" not in one]
    return f": {lines[-1][:200]}" if lines else ""


def _text(body: Body) -> str:
    return body.view()[:4096].tobytes().decode("utf-8", "replace")


def _open_ones(listed: Sequence[Listed], output: Body) -> Iterator[Entry]:
    """Where no password fits: all are listed, those that need none are taken out."""
    unlocked = [one for one in listed if not one.member.encrypted]
    yield from (Entry(one.member) for one in listed if one.member.encrypted)
    if _complete(unlocked, output):
        yield from _split(unlocked, output, None)
    else:
        yield from (Entry(one.member) for one in unlocked)


def _wanted(listed: Sequence[Listed], kinds: frozenset[str] | None = _FILES) -> int:
    return sum(one.member.size for one in listed if kinds is None or one.member.kind in kinds)


def _written_kinds(listed: Sequence[Listed], size: int) -> frozenset[str] | None:
    """The kinds of members whose bytes are in an output of that size; None for all of them."""
    for kinds in (_FILES, _FILES | {"symlink"}, None):
        if _wanted(listed, kinds) == size:
            return kinds
    return _FILES


def _complete(listed: Sequence[Listed], output: Body) -> bool:
    """All bytes came out, and every checksum that is known holds."""
    if _wanted(listed) != output.size:
        return False
    view, at = output.view(), 0
    for one in listed:
        if one.member.kind == "file":
            if not _holds(one, view[at : at + one.member.size]):
                return False
            at += one.member.size
    return True


def _holds(one: Listed, data: memoryview) -> bool:
    if one.sha1:
        return hashlib.sha1(data, usedforsecurity=False).hexdigest() == one.sha1.lower()
    return not one.crc or f"{zlib.crc32(data):08X}" == one.crc.upper()


def _split(listed: Sequence[Listed], output: Body, password: str | None) -> Iterator[Entry]:
    """The output cut into members. Where the sizes do not add up, what is left over is a member, too."""
    view = output.view()
    kinds = _written_kinds(listed, len(view))
    at = 0
    for one in listed:
        member = one.member
        if kinds is not None and member.kind not in kinds:
            yield Entry(member)
            continue
        if member.kind != "file" and not member.size:
            yield Entry(member)
            continue
        if member.encrypted:
            member.password = password
        yield _part(one, view[at : at + member.size])
        at += member.size
    if at < len(view):
        rest = view[at:]
        yield Entry(Member(name="rest", size=len(rest)), lambda _passwords: sliced(rest))


def _part(one: Listed, data: memoryview) -> Entry:
    def opened(_passwords: Sequence[str]) -> Chunks:
        yield from sliced(data)
        if len(data) < one.member.size:
            raise BadArchive(Reason.TRUNCATED, f"{len(data)} of {one.member.size} bytes are there")
        if not _holds(one, data):
            raise BadArchive(Reason.CORRUPT, "the checksum does not hold")

    return Entry(one.member, opened)


def unpack_upx(job: Job, payload: Payload) -> Iterator[Entry]:
    """The program before it was packed, by `upx -d`, which checks its own checksums.

    A program that only holds the mark, such as upx itself, is no archive: nothing is yielded.
    """
    run = job.tool("upx", "unpack", payload, output_bytes=job.bytes_left)
    body = run.files.get("unpacked")
    if body is None or not body.size:
        said = run.stderr + _text(run.stdout)
        if "NotPackedException" in said:
            return
        raise BadArchive(Reason.UNSUPPORTED_METHOD, _first_error(said, "upx cannot unpack the program"))
    member = Member(name="unpacked", size=body.size, method="upx")
    yield Entry(member, lambda _passwords: sliced(body.view()))


FORMATS = (Format("upx", lambda source: unpack_upx(source.job, source.payload)),)
